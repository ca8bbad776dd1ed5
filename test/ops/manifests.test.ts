import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { describeConfig } from '../../src/config/config.ts'
import type { Json } from '../fixtures/app/grantd.ts'
import { ROOT } from '../fixtures/run/paths.ts'

/** What docker-compose.yml and ops/kustomize say about grantd. `npm run test:ops` renders, validates and runs them. */

const FOLDER = 'ops/kustomize'

/** Returns the documents of a YAML file, read as kubectl and Compose do. */
function read(file: string): Json[] {
  const text = readFileSync(path.join(ROOT, file), 'utf8')
  return parseAllDocuments(text, { version: '1.1', merge: true }).map(document => document.toJSON())
}

const { services } = read('docker-compose.yml')[0]
const names = readdirSync(path.join(ROOT, FOLDER)).filter(name => name !== 'kustomization.yaml')
const objects = names.flatMap(name => read(`${FOLDER}/${name}`))
const pods: Json[] = objects.filter(({ spec }) => spec?.template !== undefined).map(({ spec }) => spec.template.spec)
const containers: Json[] = pods.flatMap(pod => pod.containers)
const only = (kind: string): Json => objects.find(object => object.kind === kind)

t.test('ops/kustomize lists each of its files', async t => {
  t.same(read(`${FOLDER}/kustomization.yaml`)[0].resources.toSorted(), names.toSorted())
  t.ok(pods.length >= 2)
})

t.test('the variables that Compose and Kubernetes set are variables of grantd, and secrets are files', async t => {
  const known = new Set(describeConfig().flatMap(({ name, isSecret }) => (isSecret ? [`${name}_FILE`] : [name])))
  const set = [
    ...[services.grantd, services.migrate].flatMap(({ environment }) => Object.keys(environment)),
    ...containers.flatMap(({ env }) => env.map(({ name }: Json) => name))
  ]
  t.ok(set.length >= 10)
  t.same(
    set.filter(name => !known.has(name)),
    []
  )
})

t.test('the commands that Compose and Kubernetes run are files of the image', async t => {
  const commands: string[][] = [services.migrate.command, ...containers.flatMap(({ command }) => command ?? [])]
  const files = commands.flat().filter(word => word.endsWith('.ts'))
  t.ok(files.length >= 2)
  for (const file of files) t.ok(file.startsWith('src/') && existsSync(path.join(ROOT, file)), file)
})

t.test('no pod runs as root, writes to its file system, has a capability or a token of Kubernetes', async t => {
  for (const pod of pods) {
    t.match(pod, {
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } }
    })
  }
  for (const { securityContext, resources } of containers) {
    t.same(securityContext, {
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] }
    })
    t.ok(resources.requests.memory && resources.requests.cpu && resources.limits.memory)
  }
})

t.test('a pod is stopped after the ten seconds that grantd takes at most', async t => {
  const { terminationGracePeriodSeconds, containers } = only('Deployment').spec.template.spec
  const [, pause] = containers[0].lifecycle.preStop.exec.command
  t.ok(terminationGracePeriodSeconds >= Number(pause) + 10)
})

t.test('while the database is away, a pod stays in the Service for STALE_CREDENTIALS_SECONDS', async t => {
  const { periodSeconds, failureThreshold } = only('Deployment').spec.template.spec.containers[0].readinessProbe
  const { fallback } = describeConfig().find(({ name }) => name === 'STALE_CREDENTIALS_SECONDS') ?? {}
  t.equal(`\`${periodSeconds * failureThreshold}\``, fallback)
})

t.test('the alert rules go by the name of the Service', async t => {
  const rules = readFileSync(path.join(ROOT, 'ops/alerts.yml'), 'utf8')
  t.match(rules, `job="${only('Service').metadata.name}"`)
})

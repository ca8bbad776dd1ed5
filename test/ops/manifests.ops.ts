import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { Ajv } from 'ajv'
import t, { type Test } from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import type { Json } from '../fixtures/app/grantd.ts'
import { leftOutFor } from '../fixtures/faults/debian.ts'
import { installPackages } from '../fixtures/run/packages.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'
import { faultsOf } from './manifests/kubernetes.ts'

/** The manifests in ops/ and docker-compose.yml, rendered and validated against the schemas of those who read them. */

const skip = leftOutFor({ kubectl: 'kubernetes-client' })
/** Not below test/, where the tests of the packages would be found. */
const packages = path.join(ROOT, 'node_modules/.cache/manifests')
installPackages(path.join(import.meta.dirname, 'manifests'), packages)

/** Kustomize of this kubectl takes folders as resources. That of Debian 12 is older, and renders the base only. */
function leftOutForOverlay(): string | false {
  if (skip !== false) return skip
  const version = JSON.parse(execFileSync('kubectl', ['version', '--client', '--output=json'], { encoding: 'utf8' }))
  return version.kustomizeVersion === undefined && 'left out: this kubectl is older than 1.24'
}

/** Returns the objects that `kubectl apply -k` would send. */
function render(folder: string): Json[] {
  const text = execFileSync('kubectl', ['kustomize', folder], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  return parseAllDocuments(text, { version: '1.1' }).map(document => document.toJSON())
}

/** Returns the overlay that docs/deploy.md shows, on the base of this repository. */
function overlayOfPage(t: Test): string {
  const page = readFileSync(path.join(ROOT, 'docs/deploy.md'), 'utf8')
  const [, overlay = ''] = /^```yaml\n(# kustomization\.yaml\n[\s\S]*?)^```$/m.exec(page) ?? []
  const folder = temporaryFolder(t)
  symlinkSync(ROOT, path.join(folder, 'grantd'))
  mkdirSync(path.join(folder, 'overlay'))
  writeFileSync(path.join(folder, 'overlay/kustomization.yaml'), overlay)
  return path.join(folder, 'overlay')
}

t.test(
  'the Kustomize base renders to objects that the schemas of Kubernetes accept, without unknown fields',
  { skip },
  async t => {
    const objects = render(path.join(ROOT, 'ops/kustomize'))
    t.same(objects.map(({ kind }) => kind).sort(), [
      ...['Deployment', 'Job', 'NetworkPolicy', 'NetworkPolicy', 'PodDisruptionBudget'],
      ...['Service', 'ServiceAccount', 'ServiceMonitor']
    ])
    t.same(await faultsOf(packages, objects), [])
  }
)

t.test('a field that is unknown, missing or of another type is found', { skip }, async t => {
  const changes: Record<string, (deployment: Json) => void> = {
    unknown: ({ spec }) => (spec.template.spec.containers[0].readOnlyRootFilesystem = true),
    missing: ({ spec }) => delete spec.selector,
    'of another type': ({ spec }) => (spec.replicas = 'two'),
    'of another kind': deployment => (deployment.kind = 'Deploiment')
  }
  for (const [what, change] of Object.entries(changes)) {
    const deployment = render(path.join(ROOT, 'ops/kustomize')).find(({ kind }) => kind === 'Deployment')
    change(deployment)
    t.ok((await faultsOf(packages, [deployment])).length > 0, what)
  }
})

t.test('each selector of the base selects what it is for', { skip }, async t => {
  const objects = render(path.join(ROOT, 'ops/kustomize'))
  const named = (kind: string, name = 'grantd'): Json =>
    objects.find(object => object.kind === kind && object.metadata.name === name)
  const selects = (selector: Json, labels: Json) =>
    Object.entries(selector).every(([label, value]) => labels[label] === value)
  const server = named('Deployment').spec.template
  const migration = named('Job', 'grantd-migrate').spec.template
  for (const selector of [
    named('Deployment').spec.selector.matchLabels,
    named('Service').spec.selector,
    named('PodDisruptionBudget').spec.selector.matchLabels,
    named('NetworkPolicy').spec.podSelector.matchLabels,
    server.spec.topologySpreadConstraints[0].labelSelector.matchLabels
  ]) {
    t.ok(selects(selector, server.metadata.labels))
    t.notOk(selects(selector, migration.metadata.labels))
  }
  const ofMigration = named('NetworkPolicy', 'grantd-migrate').spec.podSelector.matchLabels
  t.ok(selects(ofMigration, migration.metadata.labels))
  t.notOk(selects(ofMigration, server.metadata.labels))
  const monitor = named('ServiceMonitor').spec
  t.ok(selects(monitor.selector.matchLabels, named('Service').metadata.labels))

  const [container] = server.spec.containers
  const ports = container.ports.map(({ name }: Json) => name)
  const servicePorts: Json[] = named('Service').spec.ports
  for (const port of [
    ...servicePorts.map(({ targetPort }) => targetPort),
    ...[container.livenessProbe, container.readinessProbe].map(({ httpGet }) => httpGet.port),
    ...named('NetworkPolicy').spec.ingress.flatMap((rule: Json) => rule.ports.map(({ port }: Json) => port))
  ]) {
    t.ok(ports.includes(port), port)
  }
  t.ok(servicePorts.some(({ name }) => name === monitor.endpoints[0].port))
})

t.test('the overlay of docs/deploy.md completes the base', { skip: leftOutForOverlay() }, async t => {
  const objects = render(overlayOfPage(t))
  t.same(await faultsOf(packages, objects), [])
  for (const { metadata } of objects) t.equal(metadata.namespace, 'grantd')
  const templates: Json[] = objects.filter(({ spec }) => spec?.template !== undefined).map(({ spec }) => spec.template)
  t.same(
    templates.map(({ spec }) => spec.containers[0].image),
    ['registry.example.com/grantd:0.2.0', 'registry.example.com/grantd:0.2.0']
  )
  const configured = objects.find(({ kind }) => kind === 'ConfigMap')
  t.match(configured.data, { ISSUER: /^https:/, ADMIN_ISSUER: /^https:/, ADMIN_AUDIENCE: /./ })
  // A change of the configuration is another name, and so another pod.
  t.match(configured.metadata.name, /^grantd-\w+$/)
  t.ok(templates.some(({ spec }) => spec.containers[0].envFrom?.[0].configMapRef.name === configured.metadata.name))
})

t.test('docker-compose.yml is what the schema of Compose describes', async t => {
  const file = path.join(packages, 'node_modules/dclint/schemas/compose.schema.json')
  // Ajv knows the dialect, draft 7, by an address without TLS only.
  const { $schema: _, ...schema } = JSON.parse(readFileSync(file, 'utf8'))
  const validate = new Ajv({ allErrors: true, strict: false }).compile(schema)
  const compose = (): Json => parse(readFileSync(path.join(ROOT, 'docker-compose.yml'), 'utf8'), { merge: true })
  t.ok(validate(compose()), JSON.stringify(validate.errors))
  const { services } = compose()
  t.notOk(validate({ services: { ...services, grantd: { ...services.grantd, readonly: true } } }), 'an unknown field')
  t.notOk(validate({ services: { ...services, grantd: { ...services.grantd, ports: 3000 } } }), 'another type')
})

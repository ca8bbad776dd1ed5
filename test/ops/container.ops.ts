import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chownSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import root, { type Test } from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { freePort } from '../fixtures/app/app.ts'
import { type Json, send } from '../fixtures/app/grantd.ts'
import { makeCluster } from '../fixtures/faults/cluster.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { temporaryFolder, untilPrinted, untilReady } from '../fixtures/run/process.ts'
import { type Container, startContainer } from './container/container.ts'
import { buildImage, type Image, leftOutWithoutBuildah } from './container/image.ts'
import { createInstallation, type Installation } from './installation.ts'

/** The image of the Dockerfile, built by buildah and run by runc as Compose and Kubernetes run it. */

const skip = leftOutWithoutBuildah()
let built: Promise<Image> | undefined
const image = (): Promise<Image> => (built ??= buildImage(root))

/** The user of the image, and its group. */
const ID = 1000

const readText = (file: string): string => readFileSync(path.join(ROOT, file), 'utf8')

root.test('the Dockerfile builds an image of what production needs, and of nothing else', { skip }, async t => {
  const { root, config } = await image()
  t.match(config, {
    User: '1000:1000',
    StopSignal: 'SIGTERM',
    ExposedPorts: { '3000/tcp': {}, '9464/tcp': {} },
    Healthcheck: { Test: ['CMD', 'node'] }
  })
  const app = path.join(root, 'app')
  const expected = ['compiled', 'migrations', 'node_modules', 'openapi.yaml', 'package.json', 'src']
  t.same(readdirSync(app).sort(), expected)
  const { packages }: { packages: Record<string, { dev?: boolean; optional?: boolean }> } = JSON.parse(
    readText('package-lock.json')
  )
  const production = Object.keys(packages).filter(folder => folder !== '' && packages[folder]?.dev !== true)
  const installed: Json = JSON.parse(readFileSync(path.join(app, 'node_modules/.package-lock.json'), 'utf8')).packages
  t.same(
    Object.keys(installed).filter(folder => !production.includes(folder)),
    []
  )
  t.same(
    production.filter(folder => packages[folder]?.optional !== true && installed[folder] === undefined),
    []
  )
  // The process cannot change its code, even where the root can be written to.
  const writable = execFileSync('find', [app, '!', '-type', 'l', '(', '!', '-user', 'root', '-o', '-perm', '/022', ')'])
  t.equal(writable.toString(), '')
  const size = execFileSync('du', ['--summarize', '--block-size=M', app], { encoding: 'utf8' }).split('\t')[0]
  t.comment(`/app has ${size}, and ${Object.keys(installed).length} packages`)
})

root.test(
  'as docker-compose.yml runs it, the three commands of README.md work, and SIGTERM ends it',
  { skip },
  async t => {
    const { migrate, grantd } = parse(readText('docker-compose.yml'), { merge: true }).services
    t.match(grantd, { read_only: true, cap_drop: ['ALL'], tmpfs: ['/tmp'] }, 'what this test gives the container')
    const logins = await loginsOf(t)
    const owner = await startContainer(t, await image(), {
      ...{ command: migrate.command, temporary: migrate.tmpfs },
      environment: { DATABASE_URL_FILE: '/run/owner/url' },
      folders: { '/run/owner': { source: logins.owner, isReadOnly: true } }
    })
    t.equal(await owner.exited, 0, owner.output())

    const DATA_DIR = temporaryFolder(t)
    chownSync(DATA_DIR, ID, ID)
    const PORT = String(await freePort())
    const container = await startContainer(t, await image(), {
      temporary: grantd.tmpfs,
      memoryBytes: bytesOf(grantd.mem_limit),
      environment: {
        ...grantd.environment,
        // Without a .env file, Compose leaves it empty.
        ...{ NODE_ENV: '', ISSUER: `http://127.0.0.1:${PORT}`, HOST: '127.0.0.1', PORT },
        METRICS_PORT: String(await freePort())
      },
      folders: {
        '/run/serving': { source: logins.serving, isReadOnly: true },
        [grantd.environment.DATA_DIR]: { source: DATA_DIR, isReadOnly: false }
      }
    })
    await untilPrinted(container, 'API reference')
    await isConfined(t, container)
    const [created = '', token = '', read = ''] = runBanner(t, container.output())
    for (const answer of [created, token, read]) t.comment(`answered: ${Object.keys(JSON.parse(answer)).join(', ')}`)
    t.match(JSON.parse(token), { token_type: 'Bearer', scope: 'devices:read' })
    t.match(JSON.parse(read), { clientId: JSON.parse(created).clientId, exchangeCount: 1, lastUsedAt: /Z$/ })
    await isStopped(t, await image(), container)
  }
)

root.test('as a pod of ops/kustomize it serves without any file to write to', { skip }, async t => {
  const job = podOf('migration-job.yaml')
  const pod = podOf('deployment.yaml')
  const logins = await loginsOf(t)
  const ports = { PORT: String(await freePort()), METRICS_PORT: String(await freePort()) }
  const start = async () =>
    startContainer(t, await image(), {
      command: pod.command,
      memoryBytes: bytesOf(pod.resources.limits.memory),
      environment: {
        ...pod.environment,
        ...{ ISSUER: 'https://auth.example.com', ADMIN_ISSUER: 'https://idp.example.com/', ADMIN_AUDIENCE: 'grantd' },
        ...{ HOST: '127.0.0.1', ...ports, NODE_DEBUG_NATIVE: 'COMPILE_CACHE' }
      },
      folders: { '/run/secrets/grantd': { source: logins.serving, isReadOnly: true } }
    })
  const early = await start()
  t.equal(await early.exited, 1, 'a pod that starts before the migration exits')
  t.match(early.output(), /grantd does not start: /)

  const migration = await startContainer(t, await image(), {
    ...{ command: job.command, environment: job.environment, memoryBytes: bytesOf(job.resources.limits.memory) },
    folders: { '/run/secrets/grantd-owner': { source: logins.owner, isReadOnly: true } }
  })
  t.equal(await migration.exited, 0, migration.output())

  const container = await start()
  await untilReady(container)
  await isConfined(t, container)
  for (const { httpGet } of [pod.livenessProbe, pod.readinessProbe]) {
    t.equal(httpGet.port, 'metrics')
    const { status } = await send('GET', `http://127.0.0.1:${ports.METRICS_PORT}${httpGet.path}`)
    t.equal(status, 200, httpGet.path)
  }
  const keys = (await send('GET', `${container.baseUrl}/.well-known/jwks.json`)).json()
  t.match(keys, { keys: [{ kty: 'EC' }] })
  t.equal((await container.exec(pod.lifecycle.preStop.exec.command)).status, 0, 'the preStop hook')
  const accepted = container.output().match(/ was accepted/g) ?? []
  t.ok(accepted.length > 100, `${accepted.length} modules come from the compile cache of the image`)
  t.notMatch(container.output(), / was rejected/)
  await isStopped(t, await image(), container)
})

/** Returns the container of a pod, with its variables by name. */
function podOf(file: string): Json {
  const objects = parseAllDocuments(readText(`ops/kustomize/${file}`), { version: '1.1' })
  const [container] = objects[0]?.toJSON().spec.template.spec.containers ?? []
  return { ...container, environment: Object.fromEntries(container.env.map(({ name, value }: Json) => [name, value])) }
}

/** Makes an empty installation. @returns folders with the files that Compose and Kubernetes mount */
async function loginsOf(t: Test): Promise<{ owner: string; serving: string }> {
  const cluster = await makeCluster(t, path.join(temporaryFolder(t), 'cluster'))
  await cluster.start()
  const { ownerUrl, servingUrl }: Installation = await createInstallation(cluster)
  const folder = temporaryFolder(t)
  const key = randomBytes(32).toString('base64')
  writeSecrets(`${folder}/owner`, { url: ownerUrl, 'database-url': ownerUrl })
  writeSecrets(`${folder}/serving`, { url: servingUrl, 'database-url': servingUrl, 'key-encryption-key': key })
  return { owner: `${folder}/owner`, serving: `${folder}/serving` }
}

/** Writes files that only root and the group of the container can read, as Kubernetes does with `fsGroup`. */
function writeSecrets(folder: string, secrets: Record<string, string>): void {
  mkdirSync(folder)
  for (const [name, value] of Object.entries(secrets)) {
    writeFileSync(`${folder}/${name}`, `${value}\n`, { mode: 0o440 })
    chownSync(`${folder}/${name}`, 0, ID)
  }
}

/** Returns the bytes of a size as Compose (`1g`) or Kubernetes (`512Mi`) writes it. */
function bytesOf(size: string): number {
  const [, count, unit = ''] = /^(\d+)(Mi|g)$/.exec(size) ?? []
  return Number(count) * (unit === 'g' ? 2 ** 30 : 2 ** 20)
}

/** Runs the commands that grantd prints at its start, one after the other in an empty folder. @returns their answers */
function runBanner(t: Test, output: string): string[] {
  const cwd = temporaryFolder(t)
  const commands = output.split('\n').filter(line => line.startsWith('curl '))
  t.equal(commands.length, 3)
  return commands.map(command => execFileSync('sh', ['-ec', command], { cwd, encoding: 'utf8' }))
}

async function isConfined(t: Test, container: Container): Promise<void> {
  const { output } = await container.exec(['cat', '/proc/1/status'])
  t.match(output, /^Uid:\s+1000\s+1000\s+1000\s+1000$/m)
  t.match(output, /^CapEff:\s+0+$/m)
  t.match(output, /^NoNewPrivs:\s+1$/m)
  t.match(await container.exec(['touch', '/app/src/changed']), { status: 1, output: /Read-only file system/ })
}

/** Checks the health check of the image, and that SIGTERM ends the container as it should. */
async function isStopped(t: Test, { config }: Image, container: Container): Promise<void> {
  const [, ...check] = config.Healthcheck.Test
  t.equal((await container.exec(check)).status, 0, 'it is healthy')
  t.equal((await container.exec(['env', 'PORT=1', ...check])).status, 1, 'and would not be if nothing answered')
  const started = performance.now()
  container.kill(config.StopSignal)
  t.equal(await container.exited, 0)
  const stoppedMs = Math.round(performance.now() - started)
  t.ok(stoppedMs < 10_000, 'within ten seconds')
  t.comment(`${config.StopSignal} ended it in ${stoppedMs} ms`)
  t.match(container.output(), /"msg":"shutting down"/)
}

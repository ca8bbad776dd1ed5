import { execFile, spawn, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import type { Json } from '../../fixtures/app/grantd.ts'
import { type ServerProcess, temporaryFolder } from '../../fixtures/run/process.ts'
import type { Image } from './image.ts'

/** How a container runs, beside what its image says. It has the network of this machine. */
interface ContainerOptions {
  /** Default: the command of the image. */
  command?: readonly string[] | undefined
  environment: Record<string, string>
  /** Folders of this machine, by their path in the container. */
  folders?: Record<string, { source: string; isReadOnly: boolean }>
  /** Paths that are empty and in memory. */
  temporary?: readonly string[]
  memoryBytes?: number
}

/** A container of runc, which is the program that Docker and Kubernetes run containers with. */
export interface Container extends ServerProcess {
  /** Runs a command beside its process. @returns exit status and output */
  exec: (command: readonly string[]) => Promise<{ status: number; output: string }>
  /** Sends a signal to its first process, as an engine does. */
  kill: (signal: string) => void
}

/** Starts a container whose root is read-only, without any capability. It ends with the test. */
export async function startContainer(t: Test, image: Image, options: ContainerOptions): Promise<Container> {
  const bundle = temporaryFolder(t)
  const id = `grantd-test-${randomUUID()}`
  const runc = (...args: string[]) => ['--root', `${bundle}/state`, ...args]
  spawnSync('runc', ['spec', '--bundle', bundle])
  const file = `${bundle}/config.json`
  writeFileSync(file, JSON.stringify(bundleConfig(JSON.parse(readFileSync(file, 'utf8')), image, options)))

  const child = spawn('runc', runc('run', '--bundle', bundle, id), { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => (output += chunk))
  const exited = once(child, 'close').then(([code, signal]) => code ?? signal)
  t.teardown(async () => {
    spawnSync('runc', runc('delete', '--force', id))
    await exited
  })
  return {
    baseUrl: `http://127.0.0.1:${options.environment['PORT']}`,
    child,
    output: () => output,
    exited,
    exec: command =>
      promisify(execFile)('runc', runc('exec', id, ...command)).then(
        ({ stdout, stderr }) => ({ status: 0, output: stdout + stderr }),
        error => ({ status: error.code, output: error.stdout + error.stderr })
      ),
    kill: signal => void spawnSync('runc', runc('kill', id, signal))
  }
}

/** Returns the configuration of a container by the OCI runtime specification. @param spec what runc proposes */
function bundleConfig(spec: Json, { root, config }: Image, options: ContainerOptions): Json {
  const [uid, gid] = config.User.split(':').map(Number)
  const { folders = {}, temporary = [], memoryBytes } = options
  const mounts = [
    ...Object.entries(folders).map(([destination, { source, isReadOnly }]) => {
      return { destination, source, type: 'bind', options: ['bind', isReadOnly ? 'ro' : 'rw'] }
    }),
    ...temporary.map(destination => ({ destination, source: 'tmpfs', type: 'tmpfs', options: ['mode=1777'] }))
  ]
  const none = { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] }
  return {
    ...spec,
    root: { path: root, readonly: true },
    process: {
      ...spec.process,
      ...{ terminal: false, user: { uid, gid }, capabilities: none, rlimits: [], noNewPrivileges: true },
      ...{ cwd: config.WorkingDir, args: options.command ?? config.Cmd },
      env: [...config.Env, ...Object.entries(options.environment).map(([name, value]) => `${name}=${value}`)]
    },
    mounts: [...spec.mounts, ...mounts],
    linux: {
      ...spec.linux,
      namespaces: spec.linux.namespaces.filter(({ type }: Json) => type !== 'network'),
      resources: memoryBytes === undefined ? {} : { memory: { limit: memoryBytes } }
    }
  }
}

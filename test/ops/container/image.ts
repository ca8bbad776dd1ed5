import { execFile, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { rootCertificates } from 'node:tls'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { leftOutFor, type Needs } from '../../fixtures/faults/debian.ts'
import { ROOT } from '../../fixtures/run/paths.ts'
import { temporaryFolder } from '../../fixtures/run/process.ts'

/** The image of the Dockerfile, unpacked. */
export interface Image {
  /** Folder that is the root of its containers. */
  root: string
  config: ImageConfig
}

/** What the image says about its containers, as Docker names it. */
interface ImageConfig {
  User: string
  Env: string[]
  Cmd: string[]
  WorkingDir: string
  StopSignal: string
  ExposedPorts: Record<string, object>
  Healthcheck: { Test: string[] }
}

const NEEDS: Needs = { buildah: 'buildah', mmdebstrap: 'mmdebstrap', runc: 'runc', curl: 'curl' }
/** Libraries that Node is linked with. The image `node:…-slim` has them too. */
const LIBRARIES = 'libstdc++6,libatomic1'
const BASE = 'localhost/grantd-test-node'
const IMAGE = 'localhost/grantd-test'

/** @returns false when images can be built and run here, as tap's `skip` takes it; otherwise why they cannot */
export function leftOutWithoutBuildah(): string | false {
  if (process.getuid?.() !== 0) return 'left out: buildah and runc need root here'
  const missing = leftOutFor(NEEDS)
  if (missing !== false) return missing
  const { status, stderr } = spawnSync('buildah', ['--storage-driver', 'vfs', 'images'], { encoding: 'utf8' })
  return status === 0 ? false : `left out: buildah cannot run here: ${stderr}`
}

/**
 * Builds the Dockerfile as it is, without a Docker engine.
 *
 * No image can be fetched here, so the build argument NODE_IMAGE names one that is made of Debian's packages, of the
 * binary in the package `node`, and of the npm that runs this.
 */
export async function buildImage(t: Test): Promise<Image> {
  const folder = temporaryFolder(t)
  const storage = ['--root', `${folder}/storage`, '--runroot', `${folder}/run`, '--storage-driver', 'vfs']
  const buildah = (...args: string[]) => run('buildah', [...storage, ...args])
  await makeBase(buildah)
  const build = ['build', '--isolation', 'chroot', '--format', 'docker', '--pull-never', '--tag', IMAGE]
  const volumes = (await registryVolumes(folder)).flatMap(volume => ['--volume', volume])
  await buildah(...build, '--build-arg', `NODE_IMAGE=${BASE}`, ...volumes, ROOT)
  const { Docker: docker } = JSON.parse(await buildah('inspect', '--type', 'image', IMAGE))
  const container = await buildah('from', '--pull-never', IMAGE)
  return { root: await buildah('mount', container), config: docker.config }
}

async function makeBase(buildah: (...args: string[]) => Promise<string>): Promise<void> {
  const container = await buildah('from', 'scratch')
  const root = await buildah('mount', container)
  const [, release = ''] = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8')) ?? []
  await run('mmdebstrap', ['--mode=root', '--variant=essential', `--include=${LIBRARIES}`, release, root, ...sources()])
  const node = createRequire(import.meta.url).resolve('node/bin/node')
  await run('install', ['-m', '755', node, `${root}/usr/local/bin/node`])
  await run('cp', ['-r', await npmFolder(), `${root}/usr/local/lib/npm`])
  await run('ln', ['-s', '../lib/npm/bin/npm-cli.js', `${root}/usr/local/bin/npm`])
  await buildah('config', '--env', 'PATH=/usr/local/bin:/usr/bin:/bin', container)
  await buildah('commit', '--rm', container, BASE)
}

/** Returns the package sources of this machine, from which mmdebstrap takes its packages too. */
function sources(): string[] {
  return ['/etc/apt/sources.list', '/etc/apt/sources.list.d/debian.sources'].filter(file => existsSync(file))
}

async function npmFolder(): Promise<string> {
  return path.join(await run('npm', ['root', '--global']), 'npm')
}

/** Returns the mounts by which `npm ci` in the build finds the registry of this machine. They are not in the image. */
async function registryVolumes(folder: string): Promise<string[]> {
  const { NODE_EXTRA_CA_CERTS: extra } = process.env
  const certificates = [...rootCertificates, ...(extra === undefined ? [] : [readFileSync(extra, 'utf8')])]
  writeFileSync(`${folder}/certificates.pem`, certificates.join('\n'))
  const registry = await run('npm', ['config', 'get', 'registry'])
  writeFileSync(`${folder}/npmrc`, `registry=${registry}\ncafile=/run/certificates.pem\n`)
  return [`${folder}/npmrc:/root/.npmrc:ro`, `${folder}/certificates.pem:/run/certificates.pem:ro`]
}

/** @returns what it printed */
async function run(command: string, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(command, args, { maxBuffer: 2 ** 26 })
  return stdout.trim()
}

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { ROOT } from './fixtures/run/paths.ts'

interface Locked {
  version?: string
  integrity?: string
  dev?: boolean
  hasInstallScript?: boolean
}

const readText = (file: string): string => readFileSync(path.join(ROOT, file), 'utf8')
const { packages }: { packages: Record<string, Locked> } = JSON.parse(readText('package-lock.json'))
const { dependencies, devDependencies, allowScripts } = JSON.parse(readText('package.json'))
const installed = Object.entries(packages).filter(([folder]) => folder !== '')

const nameOf = (folder: string): string => folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length)

t.test('every package is pinned by its digest, and comes from whichever registry npm is set to', async t => {
  t.ok(installed.length > 100)
  t.same(
    installed.filter(([, { integrity }]) => !integrity?.startsWith('sha512-')).map(([folder]) => folder),
    []
  )
  t.notMatch(readText('package-lock.json'), /"resolved"/)
})

t.test('what we ask for is one exact version', async t => {
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
    t.match(version, /^\d+\.\d+\.\d+(-[\w.]+)?$/, name)
  }
})

t.test('nothing that production installs runs a script, and no script of development runs unasked', async t => {
  const scripted = installed.filter(([, { hasInstallScript }]) => hasInstallScript === true)
  t.same(
    scripted.filter(([, { dev }]) => dev !== true).map(([folder]) => folder),
    []
  )
  const names = new Set(scripted.map(([folder]) => nameOf(folder)))
  t.same(
    Object.keys(allowScripts).filter(name => !names.has(name)),
    [],
    'each that may has one'
  )
  t.match(readText('.npmrc'), /^strict-allow-scripts=true$/m)
})

interface Component {
  purl: string
  properties?: { name: string; value: string }[]
}

// [BUILD-3]
t.test('npm run sbom lists all packages, and says which are of development alone', async t => {
  const { status, stdout, stderr } = spawnSync('npm', ['run', '--silent', 'sbom'], { cwd: ROOT, encoding: 'utf8' })
  t.equal(status, 0, stderr)
  const { bomFormat, components }: { bomFormat: string; components: Component[] } = JSON.parse(stdout)
  t.equal(bomFormat, 'CycloneDX')
  const listed = components
    .filter(({ properties = [] }) => properties.every(({ name }) => name !== 'cdx:npm:package:development'))
    .map(({ purl }) => decodeURIComponent(purl))
  const production = installed
    .filter(([, { dev }]) => dev !== true)
    .map(([folder, { version }]) => `pkg:npm/${nameOf(folder)}@${version}`)
  t.same([...new Set(listed)].sort(), [...new Set(production)].sort())
})

import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { describeConfig } from '../src/config/config.ts'
import { README_FILE, withConfiguration } from '../tools/readme.ts'
import { ROOT } from './fixtures/run/paths.ts'

const readme = readFileSync(README_FILE, 'utf8')

// [BUILD-2]
t.test('the README\'s table of configuration is the code\'s; "npm run readme" writes it', async t => {
  t.equal(readme, withConfiguration(readme))
  for (const { name } of describeConfig()) t.ok(readme.includes(`| \`${name}\``), name)
})

t.test('every dependency has its line in the README, and every line its dependency', async t => {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'))
  const [, section = ''] = readme.split('## Dependencies')
  const listed = [...section.matchAll(/^\| ([^|]+) \|/gm)]
    .flatMap(([, names = '']) => [...names.matchAll(/`([^`]+)`/g)])
    .map(([, name]) => name)
  t.same(listed.sort(), [...Object.keys(dependencies), ...Object.keys(devDependencies)].sort())
})

t.test('every file that a document names is there', async t => {
  for (const document of ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'SECURITY.md']) {
    const text = readFileSync(path.join(ROOT, document), 'utf8')
    for (const [, target = ''] of text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      t.ok(readFileSync(path.join(ROOT, target)), `${document}: ${target}`)
    }
  }
})

const AREAS = 'TOKEN|LOAD|SITE|INPUT|ADMIN|SECRET|NOTICE|AUDIT|START|MODEL|FAULT|HTTP|BUILD'

t.test('each id of a guarantee stands above exactly one test, and in docs/security', async t => {
  const inTests = filesBelow('test', '.ts').flatMap(file => [
    ...readFileSync(file, 'utf8').matchAll(new RegExp(`^\\s*// \\[((?:${AREAS})-\\d+)\\]$`, 'gm'))
  ])
  const inDocs = filesBelow('docs', '.md').flatMap(file => [
    ...readFileSync(file, 'utf8').matchAll(new RegExp(`\\b(?:${AREAS})-\\d+\\b`, 'g'))
  ])
  const tested = inTests.map(([, id]) => id)
  const documented = new Set(inDocs.map(([id]) => id))
  t.ok(documented.size > 100)
  t.same([...new Set(tested)].length, tested.length, 'no id stands above two tests')
  t.same(
    [...documented].filter(id => !tested.includes(id)),
    [],
    'docs/security names these ids, and no test has one of them in a line like "// [SITE-1]" above it: put it back there'
  )
  t.same(
    tested.filter(id => !documented.has(String(id))),
    [],
    'these ids stand above tests, and docs/security does not name them'
  )
})

/** Paths of all files below a folder of the project whose name ends like this. */
function filesBelow(folder: string, extension: string): string[] {
  return readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith(extension))
    .map(name => path.join(ROOT, folder, name))
}

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { describeConfig } from '../src/config/config.ts'
import { readPage, withAnswers } from '../tools/answers.ts'
import { CONFIGURATION_FILE, withConfiguration } from '../tools/configuration.ts'
import { createDatabase } from './fixtures/app/database.ts'
import { ROOT } from './fixtures/run/paths.ts'

const readme = readPage('README.md')

// [BUILD-2]
t.test('docs/configuration.md lists every variable that src/config reads; "npm run readme" writes it', async t => {
  const page = readFileSync(CONFIGURATION_FILE, 'utf8')
  t.equal(page, withConfiguration(page))
  for (const { name } of describeConfig()) t.equal(page.split(`| \`${name}\``).length, 2, `one row for ${name}`)
})

t.test('the commands of README.md print what it shows; "npm run docs" writes it', async t => {
  t.equal(await withAnswers(readme, await createDatabase(t)), readme)
})

t.test('.env.example names every variable, with its default where that is a number', async t => {
  const example = readFileSync(path.join(ROOT, '.env.example'), 'utf8')
  for (const { name, fallback } of describeConfig()) {
    const [, number = ''] = /^`(\d+)`$/.exec(fallback) ?? []
    t.match(example, new RegExp(`^#${name}=${number}`, 'm'), name)
  }
})

t.test('README.md has at most 120 lines', async t => t.ok(readme.split('\n').length <= 120))

t.test('every dependency has its line in the README, and every line its dependency', async t => {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'))
  const [, section = ''] = readme.split('## Dependencies')
  const listed = [...section.matchAll(/^\| ([^|]+) \|/gm)]
    .flatMap(([, names = '']) => [...names.matchAll(/`([^`]+)`/g)])
    .map(([, name]) => name)
  t.same(listed.sort(), [...Object.keys(dependencies), ...Object.keys(devDependencies)].sort())
})

t.test('every file and heading that a document links to exists', async t => {
  const root = readdirSync(ROOT).filter(name => name.endsWith('.md'))
  const below = ['docs', 'examples', 'bench'].flatMap(folder => filesBelow(folder, '.md'))
  for (const document of [...root.map(name => path.join(ROOT, name)), ...below]) {
    if (document.includes('node_modules')) continue
    for (const [, file = '', anchor] of readFileSync(document, 'utf8').matchAll(
      /\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g
    )) {
      const target = file === '' ? document : path.resolve(path.dirname(document), file)
      const link = `${path.relative(ROOT, document)} links to ${file}#${anchor ?? ''}`
      t.ok(existsSync(target), link)
      if (anchor !== undefined) t.ok(headingsOf(readFileSync(target, 'utf8')).includes(anchor), link)
    }
  }
})

/** Anchors of the headings of a page, as GitHub makes them. */
function headingsOf(page: string): string[] {
  return [...page.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-')
  )
}

const AREAS = 'TOKEN|ASSERTION|FED|DPOP|LOAD|SITE|INPUT|ADMIN|SECRET|NOTICE|AUDIT|START|MODEL|FAULT|HTTP|BUILD'

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

import { readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { describeConfig } from '../src/config/config.ts'
import { README_FILE, withConfiguration } from '../tools/readme.ts'
import { ROOT } from './fixtures/run/paths.ts'

const readme = readFileSync(README_FILE, 'utf8')

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

t.test('every test that docs/trust.md and docs/asvs.md name is there', async t => {
  const documents = ['docs/trust.md', 'docs/asvs.md'].map(name => readFileSync(path.join(ROOT, name), 'utf8'))
  const rows = documents.join('\n').matchAll(/\| `(test\/[^`]+)`: ([^|]+) \|/g)
  const named = [...rows].map(([, file = '', name = '']) => ({ file, name }))
  t.ok(named.length > 50)
  for (const { file, name } of named) {
    const text = readFileSync(path.join(ROOT, file), 'utf8').replaceAll("\\'", "'")
    t.ok(text.includes(name), `${file}: ${name}`)
  }
})

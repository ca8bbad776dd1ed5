import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { CHANNELS } from '../../../src/notifications/channels/channels.ts'
import { ROOT } from '../../fixtures/run/paths.ts'

t.test('a new channel is one file and one entry: no other file names the kinds of channels', async t => {
  const naming = globSync('src/**/*.ts', { cwd: ROOT })
    .filter(file => CHANNELS.some(({ kind }) => readFileSync(path.join(ROOT, file), 'utf8').includes(`'${kind}'`)))
    .sort()
  t.same(naming, [
    'src/notifications/channels/mail.ts',
    'src/notifications/channels/webhook.ts',
    // Which variables of the environment name a receiver of which kind.
    'src/notifications/options.ts',
    // An example in the API documentation.
    'src/notifications/receivers/schemas.ts'
  ])
})

t.test('each channel has a kind and members of its own', async t => {
  const names = CHANNELS.flatMap(({ kind, members }) => [kind, ...Object.keys(members)])
  t.equal(new Set(names).size, names.length)
  for (const { kind } of CHANNELS) t.match(kind, /^[a-z]+$/, 'as the database requires')
})

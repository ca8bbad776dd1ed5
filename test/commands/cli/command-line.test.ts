import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { calledService } from '../../../src/commands/called-service.ts'
import { UsageError } from '../../../src/commands/cli/arguments.ts'
import { runCommandLine } from '../../../src/commands/cli/command-line.ts'
import { readOperations } from '../../../src/commands/cli/description.ts'
import { loadConfig } from '../../../src/config/config.ts'
import { freePort, startApp } from '../../fixtures/app/app.ts'
import { inDays } from '../../fixtures/app/registration.ts'
import { temporaryFolder } from '../../fixtures/run/process.ts'

const operations = readOperations()
const grantd = await startApp(t)
const adminToken = await grantd.adminToken(['*'])
const SITE = ['--siteId', 'acme']

/** Runs the command line with an administrator's token, or with another one. */
async function run(words: readonly string[], environment: Record<string, string> = {}) {
  const printed: string[] = []
  const notes: string[] = []
  const variables = { GRANTD_URL: grantd.baseUrl, GRANTD_TOKEN: adminToken, ...environment }
  await runCommandLine(words, {
    operations: () => operations,
    service: () => calledService(loadConfig(variables, 'call')),
    command: ['grantd'],
    print: text => void printed.push(text),
    note: text => void notes.push(text)
  })
  return { text: printed.join('\n'), note: notes.join('\n') }
}

async function answerOf(words: readonly string[], environment: Record<string, string> = {}) {
  return JSON.parse((await run(words, environment)).text)
}

async function register(name: string, site = SITE) {
  return answerOf(['createAppRegistration', ...site, '--name', name, '--expiresAt', inDays(30)])
}

t.test('a list is a table on demand, page by page or whole', async t => {
  const site = ['--siteId', 'lists']
  for (const name of ['list 1', 'list 2', 'list 3']) await register(name, site)
  const list = ['listAppRegistrations', ...site, '--limit', '2', '--output', 'table', '--columns', 'name,state']
  const page = await run(list)
  t.equal(page.text, 'name    state\nlist 1  expiring_30d\nlist 2  expiring_30d')
  t.match(page.note, /^There are more\. Add --all, or --cursor \S+$/)
  const all = await run([...list, '--all'])
  t.equal(all.text, 'name    state\nlist 1  expiring_30d\nlist 2  expiring_30d\nlist 3  expiring_30d')
  t.equal(all.note, '')
  t.equal((await answerOf(['listAppRegistrations', ...site, '--limit', '1', '--all'])).items.length, 3)
})

t.test('a refusal is an error with every fault, and a service that is away is one too', async t => {
  const missing = ['getAppRegistration', ...SITE, '--clientId', 'a'.repeat(20)]
  await t.rejects(run(missing), { message: /^404 not_found: / })
  const faulty = ['createAppRegistration', ...SITE, '--name', '']
  const message = /^400 invalid_request: .*\n {2}\/expiresAt: is required\n {2}\/name: must have 1 to 100 characters$/
  await t.rejects(run(faulty), { message })
  const away = { GRANTD_URL: `http://127.0.0.1:${await freePort()}` }
  await t.rejects(run(['getJwks'], away), { message: /^http:\S+ cannot be reached: / })
})

t.test('a command that is wrong calls nothing', async t => {
  for (const words of [
    ['nothing'],
    ['getJwks', '--x', '1'],
    ['getMetadata', '--output', 'table'],
    ['getMetadata', '--all']
  ]) {
    await t.rejects(run(words, { GRANTD_URL: 'http://127.0.0.1:9' }), UsageError, words.join(' '))
  }
})

t.test('a token may be in a file, and an operation for somebody else needs a token of its own', async t => {
  const file = path.join(temporaryFolder(t), 'token')
  writeFileSync(file, 'wrong\n')
  const variables = { GRANTD_TOKEN: '', GRANTD_TOKEN_FILE: file }
  await t.rejects(run(['listAppRegistrations', ...SITE], variables), { message: /^401 unauthorized: / })
  await t.rejects(run(['claimCredentials'], { GRANTD_TOKEN: '' }), {
    message: /^GRANTD_TOKEN or GRANTD_TOKEN_FILE must/
  })

  const { clientId } = await register('claimed')
  const { ticket } = await answerOf(['createClaim', ...SITE, '--clientId', clientId])
  t.match(await answerOf(['claimCredentials'], { GRANTD_TOKEN: ticket }), { clientId, clientSecret: /^grantd_/ })
  await t.rejects(run(['claimCredentials'], { GRANTD_TOKEN: ticket }), { message: /^410 claimed: / })
})

t.test('a client proves itself by the form, without the token of the caller', async t => {
  const { clientId, clientSecret } = await register('exchanging')
  const file = path.join(temporaryFolder(t), 'secret')
  writeFileSync(file, clientSecret)
  const words = ['exchangeCredentials', '--client_id', clientId, '--client_secret', `@${file}`]
  t.match(await answerOf(words), { token_type: 'Bearer' })
})

t.test('a text is printed as it is, and an answer without a body prints nothing', async t => {
  t.match((await run(['getExpirationCalendar', ...SITE])).text, /^BEGIN:VCALENDAR/)
  const { clientId } = await register('deleted')
  t.same(await run(['deleteAppRegistration', ...SITE, '--clientId', clientId]), { text: '', note: '' })
})

t.test('--include shows the headers, and an ETag of them guards a change', async t => {
  const { clientId } = await register('guarded')
  const one = [...SITE, '--clientId', clientId]
  const { note } = await run(['getAppRegistration', ...one, '--include'])
  t.match(note, /^200\n/)
  const [, etag = ''] = /^etag: (.+)$/m.exec(note) ?? []
  const change = (tag: string) => ['changeAppRegistration', ...one, '--if-match', tag, '--name', 'renamed']
  await t.rejects(run(change('"999"')), { message: /^412 / })
  t.match(await answerOf(change(etag)), { name: 'renamed' })
})

t.test('without words and with --help it explains itself', async t => {
  t.match((await run([])).text, /listAppRegistrations/)
  t.match((await run(['--help'])).text, /listAppRegistrations/)
  t.match((await run(['rotateClientSecret', '--help'])).text, /--overlapSeconds/)
})

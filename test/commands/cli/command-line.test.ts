import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
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

t.test('an answer that the operation does not declare is an error', async t => {
  let answer: { status: number; type: string; text: string } = { status: 200, type: '', text: '' }
  const server = createServer((_request, response) => {
    response.writeHead(answer.status, answer.type === '' ? {} : { 'content-type': answer.type })
    response.end(answer.text)
  })
  const port = await freePort()
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const GRANTD_URL = `http://127.0.0.1:${port}`
  const one = [...SITE, '--clientId', 'abc']
  const [html, json] = ['text/html; charset=utf-8', 'application/json']
  for (const [words, status, type, text, reason] of [
    [['listAppRegistrations', ...SITE], 200, html, '<html>', 'text/html'],
    [['listAppRegistrations', ...SITE], 200, json, '{"ok":true}', 'no "items"'],
    [['listAppRegistrations', ...SITE], 200, json, '<html>', 'no "items"'],
    [['listAppRegistrations', ...SITE], 204, '', '', 'status 204'],
    [['getAppRegistration', ...one], 200, json, '{"ok":true}', 'this JSON'],
    [['getAppRegistration', ...one], 200, json, 'null', 'this JSON'],
    [['getAppRegistration', ...one], 200, '', '{}', 'a body without a media type'],
    [['deleteAppRegistration', ...one], 200, html, '<html>', 'status 200'],
    [['revokeToken'], 200, html, '<html>', 'a body'],
    [['createAppRegistration', ...SITE], 200, json, '{"clientId":"abc"}', 'status 200'],
    [['getExpirationCalendar', ...SITE], 200, html, '<html>', 'text/html']
  ] as const) {
    answer = { status, type, text }
    const message = `grantd does not answer ${words[0]} with ${reason}. GRANTD_URL may name another service`
    await t.rejects(run(words, { GRANTD_URL }), { name: 'Error', message })
  }
  answer = { status: 404, type: json, text: '{"error":"not_found"}' }
  const other = /^404 not_found: \{"error":"not_found"\}\ngrantd does not answer like this/
  await t.rejects(run(['getAppRegistration', ...one], { GRANTD_URL }), { message: other })
  answer = { status: 200, type: json, text: '{"clientId":"abc","member of another release":1}' }
  t.match(await answerOf(['getAppRegistration', ...one], { GRANTD_URL }), { clientId: 'abc' })
  await t.rejects(run(['getJwks'], { GRANTD_URL: `https://127.0.0.1:${port}` }), {
    message: `https://127.0.0.1:${port} cannot be reached: the port does not speak TLS. A URL with http:// is for such a port`
  })
})

t.test('a command that is wrong calls nothing', async t => {
  for (const words of [
    ['nothing'],
    ['getJwks', '--x', '1'],
    ['getMetadata', '--output', 'table'],
    ['completion', 'fish'],
    ['listAppRegistrations', ...SITE, '--output', 'table', '--columns', 'name,nope'],
    ['listAppRegistrations', ...SITE, '--output', 'table', '--columns'],
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
    name: 'UsageError',
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
  const { access_token: token, ...others } = await answerOf(words)
  t.match(others, { token_type: 'Bearer' })
  writeFileSync(path.join(path.dirname(file), 'token'), token)
  const revoke = ['revokeToken', '--token', `@${path.join(path.dirname(file), 'token')}`, ...words.slice(1)]
  t.same(await run(revoke), { text: '', note: '' })
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

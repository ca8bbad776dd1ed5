import { randomBytes, randomInt } from 'node:crypto'
import t, { type Test } from 'tap'
import { createClientSecret } from '../../src/credentials/secret.ts'
import { Clock, startApp } from '../fixtures/app/app.ts'
import { basic, type Grantd } from '../fixtures/app/grantd.ts'
import { answerBytes, requestBytes, sendBytes } from '../fixtures/app/raw-http.ts'

const FORM = 'application/x-www-form-urlencoded'
const GRANT = 'grant_type=client_credentials'
const MANY = { TOKEN_FAILURE_LIMIT: '1000000' }

// [TOKEN-4]
t.test('a right secret with one character changed, removed or added is a wrong secret', async t => {
  const grantd = await startApp(t, { environment: MANY })
  const { clientId, clientSecret } = await grantd.register()
  t.equal((await grantd.exchange({ clientId, clientSecret })).status, 200)
  const letters = [...clientSecret]
  const other = (letter: string) => String.fromCharCode(letter.charCodeAt(0) === 122 ? 65 : letter.charCodeAt(0) + 1)
  const edits = [
    ...letters.map((letter, at) => letters.with(at, other(letter)).join('')),
    ...letters.map((letter, at) => letters.with(at, swapCase(letter)).join('')),
    ...letters.map((_, at) => letters.toSpliced(at, 1).join('')),
    ...letters.map((letter, at) => letters.toSpliced(at, 0, letter).join('')),
    ...letters.map((_, at) => clientSecret.slice(0, at)),
    ...letters.map((_, at) => clientSecret.slice(at + 1)),
    ...['\0', ' ', '\n', '%', 'a', '\u0301', '='].flatMap(more => [clientSecret + more, more + clientSecret])
  ].filter(edit => edit !== clientSecret)
  t.ok(edits.length > 280)
  for (const edit of edits) {
    const answers = await Promise.all([
      grantd.exchange({ clientId, clientSecret: edit }),
      grantd.requestToken({}, { authorization: basic(clientId, encodeURIComponent(edit)) })
    ])
    for (const { status } of answers) {
      t.ok(status === 401 || (status === 400 && edit.includes('\0')), `${JSON.stringify(edit)}: ${status}`)
    }
  }
})

function swapCase(letter: string): string {
  return letter === letter.toUpperCase() ? letter.toLowerCase() : letter.toUpperCase()
}

t.test('a secret whose checksum was made to fit is still a wrong one', async t => {
  const grantd = await startApp(t, { environment: MANY })
  const { clientId } = await grantd.register()
  for (let attempt = 0; attempt < 20; attempt++) {
    t.equal((await grantd.exchange({ clientId, clientSecret: createClientSecret('grantd_') })).status, 401)
  }
})

// [TOKEN-5]
t.test('2,000 random Authorization headers are refused, each with a 4xx, and one answer to each', async t => {
  const grantd = await startApp(t, { environment: MANY })
  const { clientId, clientSecret } = await grantd.register()
  const good = basic(clientId, clientSecret)
  const body = Buffer.from(GRANT)
  for (let batch = 0; batch < 40; batch++) {
    const headers = Array.from({ length: 50 }, () => randomHeader(good))
    const statuses = await Promise.all(
      headers.map(Authorization =>
        sendBytes(grantd.baseUrl, requestBytes('/oauth/token', { 'Content-Type': FORM, Authorization }, body))
      )
    )
    for (const [index, status = 0] of statuses.entries()) {
      // In hex: a line separator of Unicode in the message would break TAP's line.
      t.ok(status >= 400 && status < 500, `${status}: ${headers[index]?.toString('hex')}`)
    }
  }
  t.equal((await grantd.requestToken({}, { authorization: good })).status, 200)
})

/** Noise, noise after a scheme, or a good header with a byte of it changed. Without line breaks. */
function randomHeader(good: string): Buffer {
  const noise = randomBytes(randomInt(0, 80)).map(byte => (byte === 10 || byte === 13 ? 0x20 : byte))
  const kind = randomInt(4)
  if (kind === 0) return Buffer.from(noise)
  if (kind === 1) return Buffer.concat([Buffer.from('Basic '), noise])
  if (kind === 2) return Buffer.from(`Basic ${Buffer.from(noise).toString('base64')}`)
  const edited = Buffer.from(good)
  const at = randomInt('Basic '.length, edited.length)
  edited[at] = (edited[at] ?? 0) ^ (1 << randomInt(1, 5))
  return Buffer.from(edited.map(byte => (byte === 10 || byte === 13 ? 0x20 : byte)))
}

// [TOKEN-2]
t.test('OAuth parameters and credentials in the query are refused and give no token', async t => {
  const grantd = await startApp(t)
  const { clientId, clientSecret } = await grantd.register()
  const credentials = `client_id=${clientId}&client_secret=${clientSecret}`
  for (const [method, query, body] of [
    ['POST', `?${GRANT}&${credentials}`, ''],
    ['POST', `?${GRANT}`, credentials],
    ['POST', `?${credentials}`, GRANT],
    ['POST', `?client_secret=${clientSecret}`, `${GRANT}&${credentials}`],
    ['GET', `?${GRANT}&${credentials}`, '']
  ] as const) {
    const answer = await answerBytes(grantd.baseUrl, method, `/oauth/token${query}`, { 'Content-Type': FORM }, body)
    t.match(answer, method === 'GET' ? /^HTTP\/1\.1 405 / : /^HTTP\/1\.1 400 /, query)
    t.match(answer, '"error":"invalid_request"', query)
    t.notMatch(answer, /access_token/, query)
  }
})

// [TOKEN-8]
t.test('unknown, wrong (new and repeated), disabled, expired and deleted get the same bytes', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now, environment: MANY })
  const states = await everyState(grantd, clock)
  for (const usesHeader of [true, false]) {
    const wrong = createClientSecret('grantd_')
    // The wrong secret comes twice: one that has been refused before must look the same.
    for (const secret of [wrong, wrong, 'junk']) {
      const answers = await Promise.all(
        Object.entries(states).map(async ([state, { clientId }]) => ({
          state,
          bytes: await tokenBytes(grantd, clientId, secret, usesHeader)
        }))
      )
      for (const { state, bytes } of answers) t.equal(bytes, answers[0]?.bytes, state)
      t.match(answers[0]?.bytes, /^HTTP\/1\.1 401 Unauthorized\r\n/)
    }
    const deleted = states['deleted']
    if (deleted === undefined) throw new Error('nothing was deleted')
    const formerlyRight = await tokenBytes(grantd, deleted.clientId, deleted.clientSecret, usesHeader)
    t.equal(formerlyRight, await tokenBytes(grantd, '0'.repeat(20), deleted.clientSecret, usesHeader), 'its old secret')
  }
})

type State = Awaited<ReturnType<Grantd['register']>>

async function everyState(
  grantd: Grantd,
  clock: Clock
): Promise<Record<string, Pick<State, 'clientId' | 'clientSecret'>>> {
  const states = {
    unknown: { clientId: '0'.repeat(20), clientSecret: '' },
    wrong: await grantd.register(),
    'wrong, and warm': await grantd.register(),
    disabled: await grantd.register({ enabled: false }),
    expired: await grantd.register({ expiresAt: new Date(clock.time + 60_000).toISOString() }),
    deleted: await grantd.register()
  }
  for (const warm of [states['wrong, and warm'], states.expired, states.deleted]) await grantd.exchange(warm)
  await grantd.asAdmin('DELETE', states.deleted.path)
  clock.advance(60_000)
  return states
}

function tokenBytes(grantd: Grantd, clientId: string, secret: string, usesHeader: boolean): Promise<string> {
  const headers = { 'Content-Type': FORM, ...(usesHeader && { Authorization: basic(clientId, secret) }) }
  const body = usesHeader ? GRANT : `${GRANT}&client_id=${clientId}&client_secret=${secret}`
  return answerBytes(grantd.baseUrl, 'POST', '/oauth/token', headers, body)
}

// [TOKEN-7]
t.test('Host, Forwarded and X-Forwarded-* of strangers change no issuer, no URL and no source', async t => {
  const grantd = await startApp(t, { environment: { TOKEN_FAILURE_LIMIT: '3' } })
  const lies = {
    Host: 'evil.example',
    Forwarded: 'for=192.0.2.1;host=evil.example;proto=https',
    'X-Forwarded-Host': 'evil.example',
    'X-Forwarded-Proto': 'https',
    'X-Forwarded-Port': '444',
    'X-Forwarded-Prefix': '/evil',
    'X-Real-IP': '192.0.2.7',
    'X-Original-URL': '/v1/app-registrations',
    'X-HTTP-Method-Override': 'DELETE'
  }
  const registered = await grantd.register()
  const answer = await grantd.requestToken(
    { client_id: registered.clientId, client_secret: registered.clientSecret },
    lies
  )
  const [, claims = ''] = answer.json().access_token.split('.')
  t.match(JSON.parse(Buffer.from(claims, 'base64url').toString()), { iss: grantd.baseUrl, aud: grantd.baseUrl })
  for (const path of ['/.well-known/oauth-authorization-server', '/.well-known/jwks.json', '/docs', '/docs/', '/x']) {
    const told = await grantd.send('GET', path, { headers: lies })
    t.notMatch(told.text + JSON.stringify(told.headers), /evil/, path)
  }
  t.equal((await grantd.asAdmin('GET', registered.path, { headers: lies })).status, 200, 'and nothing was deleted')
  await refusedAfterThree(t, grantd, lies)
})

async function refusedAfterThree(t: Test, grantd: Grantd, lies: Record<string, string>): Promise<void> {
  const statuses = []
  for (let from = 0; from < 4; from++) {
    const headers = { ...lies, 'X-Forwarded-For': `192.0.2.${from}`, 'X-Real-IP': `192.0.2.${from}` }
    const wrong = { client_id: '0'.repeat(20), client_secret: createClientSecret('grantd_') }
    statuses.push((await grantd.requestToken(wrong, headers)).status)
  }
  t.same(statuses, [401, 401, 401, 429])
}

import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { type Answer, type Grantd, send } from '../fixtures/app/grantd.ts'
import { COLLECTION } from '../fixtures/app/registration.ts'

async function withCursor(grantd: Grantd): Promise<{ cursor: string; attempt: (cursor: string) => Promise<Answer> }> {
  for (const name of ['alpha', 'bravo', 'charlie']) await grantd.register({ name })
  const headers = { authorization: `Bearer ${await grantd.adminToken(['acme'])}` }
  const list = (query: string) => send('GET', `${grantd.baseUrl}${COLLECTION}?limit=1${query}`, { headers })
  const cursor = (await list('')).json().nextCursor
  return { cursor, attempt: text => list(`&cursor=${encodeURIComponent(text)}`) }
}

// [INPUT-7]
t.test('a cursor with any bit of it flipped is 400', async t => {
  const grantd = await startApp(t)
  const { cursor, attempt } = await withCursor(grantd)
  t.equal((await attempt(cursor)).json().items[0].name, 'bravo', 'as it is, it is good')
  const bytes = Buffer.from(cursor, 'base64url')
  for (let at = 0; at < bytes.length; at++) {
    const flipped = Array.from({ length: 8 }, (_, bit) => {
      const edit = Buffer.from(bytes)
      edit[at] = (edit[at] ?? 0) ^ (1 << bit)
      return edit.toString('base64url')
    })
    for (const answer of await Promise.all(flipped.map(attempt))) {
      t.match(answer.json(), { status: 400, errors: [{ parameter: 'cursor', code: 'invalid_cursor' }] }, `byte ${at}`)
    }
  }
})

// [INPUT-8]
t.test('a cursor that was cut, extended, encoded differently or made by hand is 400', async t => {
  const grantd = await startApp(t)
  const { cursor, attempt } = await withCursor(grantd)
  const bytes = Buffer.from(cursor, 'base64url')
  const payload = bytes.subarray(16)
  for (const edit of [
    ...Array.from({ length: bytes.length }, (_, length) => bytes.subarray(0, length).toString('base64url')),
    `${cursor}=`,
    `${cursor}A`,
    ` ${cursor}`,
    `${cursor}\n`,
    `${cursor}\0`,
    cursor.toUpperCase(),
    Buffer.concat([bytes, Buffer.from(' ')]).toString('base64url'),
    Buffer.concat([Buffer.alloc(16), payload]).toString('base64url'),
    payload.toString('base64url'),
    payload.toString(),
    '["bravo","k3v9x2m7q1w8z5t4r6y0"]',
    '2',
    'null',
    '__proto__',
    "' or 1=1 --",
    'x'.repeat(8_000)
  ]) {
    const answer = await attempt(edit)
    t.equal(answer.status, 400, JSON.stringify(edit.slice(0, 60)))
    t.equal(answer.json().errors[0].parameter, 'cursor')
  }
})

t.test('a cursor holds nothing that its caller did not see', async t => {
  const grantd = await startApp(t)
  await grantd.register({ name: 'a row before' })
  const { cursor } = await withCursor(grantd)
  const text = Buffer.from(cursor, 'base64url').toString('latin1')
  t.match(text, 'a row before', 'the last row of the page')
  t.notMatch(text, /alpha|bravo|charlie|acme|\$argon2|grantd_/)
})

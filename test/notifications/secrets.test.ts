import { randomBytes } from 'node:crypto'
import t from 'tap'
import { freePort } from '../fixtures/app/app.ts'
import { createDatabase, query } from '../fixtures/app/database.ts'
import { send } from '../fixtures/app/grantd.ts'
import { startWebhookReceiver } from '../fixtures/peers/webhook-receiver.ts'
import { spawnServer, temporaryFolder, untilPrinted, untilReady } from '../fixtures/run/process.ts'
import { until } from '../fixtures/run/until.ts'

// [SECRET-3]
t.test('no secret of a receiver is in a log line of any level, or unencrypted in the database', async t => {
  const canaries = {
    config: randomBytes(32).toString('base64'),
    password: `canary${randomBytes(8).toString('hex')}`,
    path: `canary${randomBytes(8).toString('hex')}`,
    answer: `canary${randomBytes(8).toString('hex')}`
  }
  const receiver = await startWebhookReceiver(t, response => {
    response.writeHead(500, canaries.answer, { 'x-answer': canaries.answer }).end(canaries.answer)
  })
  const url = `${receiver.url}?token=${canaries.path}`
  const databaseUrl = await createDatabase(t)
  const server = await spawnServer(t, {
    DATABASE_URL: databaseUrl,
    DATA_DIR: temporaryFolder(t),
    LOG_LEVEL: 'trace',
    NOTICE_INTERVAL_SECONDS: '1',
    NOTICE_WEBHOOK_URL: url,
    NOTICE_WEBHOOK_SECRET: `whsec_${canaries.config}`,
    NOTICE_WEBHOOK_ALLOW: '127.0.0.1',
    SMTP_URL: `smtp://grantd:${canaries.password}@127.0.0.1:${await freePort()}`,
    NOTICE_MAIL_FROM: 'grantd@example.com',
    NOTICE_MAIL_TO: 'ops@example.com'
  })
  await untilReady(server)
  await untilPrinted(server, 'API reference')
  const [, token = ''] = /Authorization: Bearer ([^']+)'/.exec(server.output()) ?? []
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const post = (path: string, body: unknown) =>
    send('POST', `${server.baseUrl}/v1/sites/acme/${path}`, { headers, body: JSON.stringify(body) })
  const { receiverId, signingSecret } = (await post('notice-receivers', { kind: 'webhook', url })).json()
  const rotated = await send('POST', `${server.baseUrl}/v1/sites/acme/notice-receivers/${receiverId}/rotate-secret`, {
    headers: { authorization: headers.authorization }
  })
  await post('app-registrations', { name: 'a', expiresAt: new Date(Date.now() + 3_000).toISOString() })
  // Two webhooks and a mail fail.
  await until(
    'each has failed',
    () => server.output().split('notice delivery failed and will be retried').length > 3,
    60_000
  )
  const secrets = [signingSecret, rotated.json().signingSecret].map((secret: string) => secret.slice('whsec_'.length))
  const found = (text: string, words: string[]) =>
    words
      .flatMap(word => [word, Buffer.from(word).toString('base64'), encodeURIComponent(word)])
      .filter(word => text.includes(word))
  t.same(found(server.output(), [...Object.values(canaries), ...secrets]), [], 'log')
  const tables = ['notice_receivers', 'notices', 'notice_deliveries', 'signing_keys']
  const rows = await Promise.all(tables.map(table => query(databaseUrl, `select * from ${table}`)))
  t.same(found(JSON.stringify(rows), [canaries.config, canaries.password, canaries.answer, ...secrets]), [], 'database')
})

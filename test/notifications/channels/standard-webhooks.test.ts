import { randomBytes } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import t from 'tap'
import { decodeWebhookSecret } from '../../../src/crypto/webhook-secret.ts'
import { createSigningSecret, webhookHeaders } from '../../../src/notifications/channels/standard-webhooks.ts'

const BODY = Buffer.from('{"name":"é\\u0000 ✓"}')

t.test('the stock Standard Webhooks library accepts what grantd signs, and nothing else', async t => {
  const secret = createSigningSecret()
  const headers = webhookHeaders('msg_1', BODY, [secret], Date.now())
  t.same(new Webhook(secret).verify(BODY.toString(), headers), JSON.parse(BODY.toString()))
  t.throws(() => new Webhook(createSigningSecret()).verify(BODY.toString(), headers))
  t.throws(() => new Webhook(secret).verify(`${BODY} `, headers))
  t.throws(() => new Webhook(secret).verify(BODY.toString(), { ...headers, 'webhook-id': 'msg_2' }))
  const late = webhookHeaders('msg_1', BODY, [secret], Date.now() - 600_000)
  t.throws(() => new Webhook(secret).verify(BODY.toString(), late), /too old/)
})

t.test('while a secret is being replaced, a receiver with either secret accepts the signature', async t => {
  const [next, previous] = [createSigningSecret(), createSigningSecret()]
  const headers = webhookHeaders('msg_1', BODY, [next, previous], Date.now())
  t.match(headers['webhook-signature'], /^v1,\S{44} v1,\S{44}$/)
  for (const secret of [next, previous]) t.ok(new Webhook(secret).verify(BODY.toString(), headers))
})

t.test('the signature is byte for byte that of the stock Standard Webhooks library', async t => {
  const now = Date.now()
  const secret = createSigningSecret()
  const headers = webhookHeaders('msg_1', BODY, [secret], now)
  t.equal(headers['webhook-signature'], new Webhook(secret).sign('msg_1', new Date(now), BODY.toString()))
})

t.test('a secret is "whsec_" and 24 to 64 bytes in base64', async t => {
  for (const bytes of [24, 32, 64]) {
    const key = randomBytes(bytes)
    t.same(decodeWebhookSecret(`whsec_${key.toString('base64')}`), key)
  }
  for (const text of [
    '',
    'whsec_',
    randomBytes(32).toString('base64'),
    `whsec_${randomBytes(23).toString('base64')}`,
    `whsec_${randomBytes(65).toString('base64')}`,
    `whsec_${randomBytes(32).toString('hex')}-`,
    `WHSEC_${randomBytes(32).toString('base64')}`
  ]) {
    t.equal(decodeWebhookSecret(text), undefined, text)
  }
  t.not(createSigningSecret(), createSigningSecret())
  t.equal(decodeWebhookSecret(createSigningSecret())?.length, 32)
})

import { Webhook } from 'standardwebhooks'
import t from 'tap'
import { sendMessage } from '../../../src/notifications/channels/channels.ts'
import { createSigningSecret } from '../../../src/notifications/channels/standard-webhooks.ts'
import { webhook } from '../../../src/notifications/channels/webhook.ts'
import { startWebhookReceiver } from '../../fixtures/peers/webhook-receiver.ts'
import { attempt, channelOptions, ISSUER, NOTICE } from './channel-options.ts'

t.test('a webhook gets a CloudEvents 1.0 event in structured mode, signed by Standard Webhooks', async t => {
  const receiver = await startWebhookReceiver(t)
  const secret = createSigningSecret()
  const sent = await sendMessage(channelOptions(), 'webhook', attempt({ url: receiver.url }, { secrets: [secret] }))
  t.same(sent, { isDelivered: true, detail: 'answered 204' })
  const [received] = receiver.received
  if (received === undefined) throw new Error('nothing came')
  t.match(received.headers['content-type'], /^application\/cloudevents\+json/)
  t.same(new Webhook(secret).verify(received.body, received.headers), received.event)
  t.equal(received.headers['webhook-id'], NOTICE.notice_id)
  t.same(received.event, {
    specversion: '1.0',
    id: NOTICE.notice_id,
    source: ISSUER,
    type: 'com.grantd.registration.expiring',
    subject: NOTICE.client_id,
    time: '2026-11-23T09:00:05.000Z',
    datacontenttype: 'application/json',
    data: {
      site: 'acme',
      clientId: NOTICE.client_id,
      name: 'billing export',
      expiresAt: '2026-12-23T09:00:00.000Z',
      enabled: true,
      step: 30,
      daysLeft: 30
    }
  })
})

t.test('an answer other than 2xx is a failure in our own words, and only 410 is final (Standard Webhooks)', async t => {
  const receiver = await startWebhookReceiver(t)
  const send = (url = receiver.url) =>
    sendMessage(channelOptions(), 'webhook', attempt({ url }, { secrets: [createSigningSecret()] }))
  for (const [status, isFinal] of [
    [302, false],
    [400, false],
    [410, true],
    [500, false]
  ] as const) {
    receiver.answer = response => response.writeHead(status, 'canary').end('canary')
    t.same(await send(), { isDelivered: false, detail: `answered ${status}`, isFinal })
  }
  t.match(await send('https://10.0.0.1/'), { detail: 'the host does not lead to a public address', isFinal: false })
  t.match(await send('http://127.0.0.1:1/'), { detail: 'failed: ECONNREFUSED' })
})

t.test('a failed connect is reported by its code, also one that fails at once', async t => {
  // The kernel refuses a connect to the broadcast address in the same system call, on every machine.
  const options = { ...channelOptions(), resolve: async () => [{ address: '255.255.255.255', family: 4 }] }
  options.guard.allows = () => true
  const sent = await sendMessage(
    options,
    'webhook',
    attempt({ url: 'https://hooks.example.test/' }, { secrets: [createSigningSecret()] })
  )
  t.match(sent, { isDelivered: false, detail: /^failed: (ENETUNREACH|EACCES|EHOSTUNREACH)$/ })
})

t.test('a host that does not exist and one that is private look the same, when saved and when sent to', async t => {
  const unknown = async () => {
    throw Object.assign(new Error('queryA ENOTFOUND'), { code: 'ENOTFOUND' })
  }
  const empty = async () => {
    throw Object.assign(new Error('queryA ENODATA'), { code: 'ENODATA' })
  }
  const target = { url: 'https://db.internal.example/' }
  const results = []
  for (const resolve of [unknown, empty, async () => [{ address: '10.0.0.1', family: 4 }]]) {
    const options = { ...channelOptions(), resolve }
    results.push({
      saved: await webhook.findFaults(options, target),
      sent: await sendMessage(options, 'webhook', attempt(target, { secrets: [createSigningSecret()] }))
    })
  }
  const [one, ...others] = results
  t.match(one, { saved: [{ pointer: '/url' }], sent: { isDelivered: false } })
  for (const other of others) t.same(other, one)
})

t.test('a name server that fails does not prevent saving a webhook', async t => {
  const resolve = async () => {
    throw Object.assign(new Error('queryA ESERVFAIL'), { code: 'ESERVFAIL' })
  }
  t.same(await webhook.findFaults({ ...channelOptions(), resolve }, { url: 'https://hooks.example.com/' }), [])
})

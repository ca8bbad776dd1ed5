import { CloudEvent } from 'cloudevents'
import { Webhook } from 'standardwebhooks'
import t from 'tap'
import { AddressGuard } from '../../../src/notifications/channels/address-guard.ts'
import { testMessage } from '../../../src/notifications/channels/message.ts'
import { type SenderNeeds, sendMessage } from '../../../src/notifications/channels/sender.ts'
import { createSigningSecret } from '../../../src/notifications/channels/webhook.ts'
import { type NoticeOfEvent, noticeMessage } from '../../../src/notifications/message.ts'
import { startMailServer } from '../../fixtures/peers/mail-server.ts'
import { startWebhookReceiver } from '../../fixtures/peers/webhook-receiver.ts'

const ISSUER = 'https://grantd.example.com'
const { signal } = new AbortController()

const NOTICE: NoticeOfEvent = {
  notice_id: 'a1b2c3d4-0000-4000-8000-000000000000',
  site_id: 'acme',
  client_id: 'k3v9x2m7q1w8z5t4r6y0',
  name: 'billing export',
  enabled: true,
  expires_at: new Date('2026-12-23T09:00:00.000Z'),
  step: 30,
  fired_at: new Date('2026-11-23T09:00:05.000Z')
}

function needs(mail?: SenderNeeds['mail']): SenderNeeds {
  return {
    guard: new AddressGuard({ items: ['127.0.0.1'], allowsPlainHttp: true }),
    resolve: async () => [],
    timeoutMs: 5_000,
    mail,
    now: Date.now
  }
}

t.test('a webhook gets a CloudEvents 1.0 event in structured mode, signed by Standard Webhooks', async t => {
  const receiver = await startWebhookReceiver(t)
  const secret = createSigningSecret()
  const target = { kind: 'webhook', url: receiver.url, secrets: [secret] } as const
  const message = noticeMessage(NOTICE, ISSUER)
  t.same(await sendMessage(needs(), target, message, signal), { isDelivered: true, detail: 'answered 204' })
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

t.test('the stock CloudEvents library takes every event that we make', async t => {
  const expired = { ...NOTICE, step: 0, fired_at: new Date('2026-12-23T09:00:00.000Z') }
  for (const { event } of [
    noticeMessage(NOTICE, ISSUER),
    noticeMessage(expired, ISSUER),
    testMessage('id', ISSUER, 'acme', 'receiver', Date.now())
  ]) {
    t.ok(new CloudEvent({ ...event }).validate())
  }
  t.equal(noticeMessage(expired, ISSUER).event.type, 'com.grantd.registration.expired')
  t.throws(() => new CloudEvent({ ...noticeMessage(NOTICE, ISSUER).event, source: '' }), /source/)
})

t.test('a caught-up notice tells the days that were left when it fired', async t => {
  const late = { ...NOTICE, fired_at: new Date('2026-12-20T10:00:00.000Z') }
  t.match(noticeMessage(late, ISSUER).event, { type: /expiring$/, data: { step: 30, daysLeft: 3 } })
  const tooLate = { ...NOTICE, fired_at: new Date('2026-12-24T10:00:00.000Z') }
  t.match(noticeMessage(tooLate, ISSUER).event, { type: /expired$/, data: { step: 30, daysLeft: 0 } })
})

t.test('what is not a 2xx is a failure, told in our words; 410 is the last word', async t => {
  const receiver = await startWebhookReceiver(t)
  const target = { kind: 'webhook', url: receiver.url, secrets: [createSigningSecret()] } as const
  for (const [status, isFinal] of [
    [302, false],
    [400, false],
    [410, true],
    [500, false]
  ] as const) {
    receiver.answer = response => response.writeHead(status, 'canary').end('canary')
    const outcome = await sendMessage(needs(), target, noticeMessage(NOTICE, ISSUER), signal)
    t.same(outcome, { isDelivered: false, detail: `answered ${status}`, isFinal })
  }
  const refused = { ...target, url: 'https://10.0.0.1/' }
  t.match(await sendMessage(needs(), refused, noticeMessage(NOTICE, ISSUER), signal), {
    isDelivered: false,
    detail: /address/
  })
  const closed = { ...target, url: 'http://127.0.0.1:1/' }
  t.match(await sendMessage(needs(), closed, noticeMessage(NOTICE, ISSUER), signal), { detail: 'failed: ECONNREFUSED' })
})

t.test('mail goes out by SMTP, as text and as HTML, to everybody it is for', async t => {
  const server = await startMailServer(t)
  const mail = { smtpUrl: server.url, from: 'grantd <grantd@example.com>' }
  const target = { kind: 'mail', addresses: ['ops@example.com', 'sec@example.com'] } as const
  t.match(await sendMessage(needs(mail), target, noticeMessage(NOTICE, ISSUER), signal), { isDelivered: true })
  const [received] = server.mails
  t.match(received, { from: 'grantd@example.com', to: ['ops@example.com', 'sec@example.com'] })
  const text = received?.text ?? ''
  t.match(text, /^Subject: App registration expires in 30 days: billing export\r?$/m)
  t.match(text, /^From: "?grantd"? <grantd@example.com>\r?$/m)
  t.match(text, /^Message-ID: <a1b2c3d4-0000-4000-8000-000000000000@example.com>\r?$/m)
  t.match(text, /^Date: Mon, 23 Nov 2026 09:00:05 \+0000\r?$/m)
  t.match(text, /^Auto-Submitted: auto-generated\r?$/m)
  t.match(text, /Content-Type: text\/plain/)
  t.match(text, /Content-Type: text\/html/)
  t.match(text, /k3v9x2m7q1w8z5t4r6y0/)
})

t.test('the subject is of the step', async t => {
  const subject = (firedAt: string) => noticeMessage({ ...NOTICE, fired_at: new Date(firedAt) }, ISSUER).mail.subject
  t.equal(subject('2026-11-23T09:00:05.000Z'), 'App registration expires in 30 days: billing export')
  t.equal(subject('2026-12-16T09:00:05.000Z'), 'App registration expires in 7 days: billing export')
  t.equal(subject('2026-12-22T10:00:00.000Z'), 'App registration expires in 1 day: billing export')
  t.equal(subject('2026-12-23T09:00:00.000Z'), 'App registration has expired: billing export')
})

// [NOTICE-8]
t.test('a name is text, whatever is in it: no header, no markup, no command', async t => {
  const server = await startMailServer(t)
  const mail = { smtpUrl: server.url, from: 'grantd@example.com' }
  const target = { kind: 'mail', addresses: ['ops@example.com'] } as const
  const name = 'x\r\nBcc: evil@example.com\r\n\r\n<img src=x onerror=alert(1)> & "\u2028\r\n.\r\nQUIT'
  await sendMessage(needs(mail), target, noticeMessage({ ...NOTICE, name }, ISSUER), signal)
  const [received] = server.mails
  t.same(received?.to, ['ops@example.com'])
  const [head = ''] = (received?.text ?? '').split('\r\n\r\n')
  t.notMatch(head, /^Bcc:/im)
  t.match(head, /^Subject: /m)
  const { html } = noticeMessage({ ...NOTICE, name }, ISSUER).mail
  t.notMatch(html, /<img/)
  t.match(html, /&lt;img src=x onerror=alert\(1\)&gt; &amp; &quot;/)
})

t.test('a mail server that refuses, or that does not know us, is told by its code alone', async t => {
  const server = await startMailServer(t)
  const target = { kind: 'mail', addresses: ['ops@example.com'] } as const
  server.refuseWith = 554
  const send = (smtpUrl: string) =>
    sendMessage(needs({ smtpUrl, from: 'grantd@example.com' }), target, noticeMessage(NOTICE, ISSUER), signal)
  t.same(await send(server.url), { isDelivered: false, detail: 'the mail server answered 554', isFinal: false })
  t.match(await send(server.url.replace('p%40ss', 'wrong')), { detail: 'the mail server answered 535' })
  t.match(await send('smtp://127.0.0.1:1'), { isDelivered: false, detail: 'failed: ESOCKET' })
  t.match(await sendMessage(needs(), target, noticeMessage(NOTICE, ISSUER), signal), { detail: /no mail server/ })
})

t.test('a password goes to a mail server elsewhere by TLS, or not at all', async t => {
  const server = await startMailServer(t)
  const target = { kind: 'mail', addresses: ['ops@example.com'] } as const
  const send = (smtpUrl: string) =>
    sendMessage(needs({ smtpUrl, from: 'grantd@example.com' }), target, noticeMessage(NOTICE, ISSUER), signal)
  // The same server, by a name of which nobody knows that it is this machine.
  t.match(await send(server.url.replace('127.0.0.1', '127.1')), {
    isDelivered: false,
    detail: 'the mail server answered 500'
  })
  t.same(server.mails, [])
  t.match(await send(server.url), { isDelivered: true })
})

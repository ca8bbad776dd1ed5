import t from 'tap'
import { sendMessage } from '../../../src/notifications/channels/channels.ts'
import { mail } from '../../../src/notifications/channels/mail.ts'
import { noticeMessage } from '../../../src/notifications/message.ts'
import { startMailServer } from '../../fixtures/peers/mail-server.ts'
import { attempt, channelOptions, ISSUER, NOTICE } from './channel-options.ts'

const OPS = { addresses: ['ops@example.com'] }
const THREE = { addresses: ['ops@example.com', 'sec@example.com', 'left@example.com'] }

t.test('a mail goes out by SMTP, as text and as HTML, to all recipients', async t => {
  const server = await startMailServer(t)
  const options = channelOptions({ smtpUrl: server.url, from: 'grantd <grantd@example.com>' })
  const target = { addresses: ['ops@example.com', 'sec@example.com'] }
  t.same(await sendMessage(options, 'mail', attempt(target)), {
    isDelivered: true,
    detail: 'accepted by the mail server'
  })
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

// [NOTICE-8]
t.test('no character of a name adds a header, markup or an SMTP command', async t => {
  const server = await startMailServer(t)
  const name = 'x\r\nBcc: evil@example.com\r\n\r\n<img src=x onerror=alert(1)> & "\u2028\r\n.\r\nQUIT'
  const message = noticeMessage({ ...NOTICE, name }, ISSUER)
  await sendMessage(channelOptions({ smtpUrl: server.url }), 'mail', attempt(OPS, { message }))
  const [received] = server.mails
  t.same(received?.to, ['ops@example.com'])
  const [head = ''] = (received?.text ?? '').split('\r\n\r\n')
  t.notMatch(head, /^Bcc:/im)
  t.match(head, /^Subject: /m)
  t.notMatch(message.text.html, /<img/)
  t.match(message.text.html, /&lt;img src=x onerror=alert\(1\)&gt; &amp; &quot;/)
})

t.test('a refused mail and a refused login are reported by their code only', async t => {
  const server = await startMailServer(t)
  server.refuseWith = 554
  const send = (smtpUrl: string) => sendMessage(channelOptions({ smtpUrl }), 'mail', attempt(OPS))
  t.same(await send(server.url), { isDelivered: false, detail: 'the mail server answered 554', isFinal: false })
  t.match(await send(server.url.replace('p%40ss', 'wrong')), { detail: 'the mail server answered 535' })
  t.match(await send('smtp://127.0.0.1:1'), { isDelivered: false, detail: 'failed: ECONNREFUSED' })
  t.match(await sendMessage(channelOptions(), 'mail', attempt(OPS)), { detail: 'no mail server is configured' })
})

t.test('each refused recipient is reported, and a retry leaves out those that have the mail (spec 32)', async t => {
  const server = await startMailServer(t)
  server.refusedRecipients = new Map([
    ['sec@example.com', 550],
    ['left@example.com', 451]
  ])
  const options = channelOptions({ smtpUrl: server.url })
  const first = await sendMessage(options, 'mail', attempt(THREE))
  t.same(first, {
    isDelivered: false,
    detail: 'not accepted for 2 of 3 recipients: sec@example.com (550), left@example.com (451)',
    isFinal: false,
    reached: ['ops@example.com']
  })
  server.refusedRecipients.delete('left@example.com')
  const reached = ['ops@example.com']
  const second = await sendMessage(options, 'mail', attempt(THREE, { reached }))
  t.match(second, {
    detail: 'not accepted for 1 of 3 recipients: sec@example.com (550)',
    reached: ['ops@example.com', 'left@example.com']
  })
  const third = await sendMessage(options, 'mail', attempt(THREE, { reached: ['ops@example.com', 'left@example.com'] }))
  t.match(third, { isDelivered: false, detail: /sec@example.com \(550\)/, reached: [/ops/, /left/] })
  server.refusedRecipients.clear()
  const fourth = await sendMessage(
    options,
    'mail',
    attempt(THREE, { reached: ['ops@example.com', 'left@example.com'] })
  )
  t.match(fourth, { isDelivered: true })
  t.same(
    server.mails.map(({ to }) => to),
    [['ops@example.com'], ['left@example.com'], ['sec@example.com']],
    'each got it once'
  )
})

t.test('grantd greets with the domain of the sender, never with an address of this machine', async t => {
  const server = await startMailServer(t)
  await sendMessage(
    channelOptions({ smtpUrl: server.openUrl, from: 'grantd <no-reply@example.org>' }),
    'mail',
    attempt(OPS)
  )
  t.same([...server.greetings], ['example.org'])
  await sendMessage(channelOptions({ smtpUrl: `${server.openUrl}?name=mx.example.net` }), 'mail', attempt(OPS))
  t.same([...server.greetings], ['example.org', 'mx.example.net'], 'SMTP_URL can name another')
})

t.test('without a password TLS with an untrusted certificate is used, because plain text would be', async t => {
  const server = await startMailServer(t, { offersTls: true })
  t.match(await sendMessage(channelOptions({ smtpUrl: server.openUrl }), 'mail', attempt(OPS)), { isDelivered: true })
  t.match(server.mails[0]?.text, /^Subject: /m)
})

t.test(
  'with a password an untrusted certificate is refused, and the detail says that it is the certificate',
  async t => {
    const server = await startMailServer(t, { offersTls: true })
    // The same machine by a name that does not show it.
    const smtpUrl = server.url.replace('127.0.0.1', '127.1')
    t.match(await sendMessage(channelOptions({ smtpUrl }), 'mail', attempt(OPS)), {
      isDelivered: false,
      detail: /^the certificate is not trusted: [A-Z_]+$/
    })
    t.same(server.mails, [])
  }
)

t.test('a password goes to another machine by TLS, or not at all', async t => {
  const server = await startMailServer(t)
  const send = (smtpUrl: string) => sendMessage(channelOptions({ smtpUrl }), 'mail', attempt(OPS))
  t.match(await send(server.url.replace('127.0.0.1', '127.1')), {
    isDelivered: false,
    detail: 'the mail server answered 500'
  })
  t.same(server.mails, [])
  t.match(await send(server.url), { isDelivered: true })
})

t.test('NOTICE_MAIL_DOMAINS limits the domains, when an address is saved and when it is sent to', async t => {
  const server = await startMailServer(t)
  const options = channelOptions({ smtpUrl: server.url, domains: ['example.com'] })
  const target = { addresses: ['ops@Example.COM', 'eve@evil.example', 'eve@sub.example.com'] }
  t.match(await mail.findFaults(options, target), [
    { pointer: '/addresses/1', code: 'domain_not_allowed' },
    { pointer: '/addresses/2', code: 'domain_not_allowed' }
  ])
  t.match(await sendMessage(options, 'mail', attempt(target)), {
    isDelivered: false,
    detail: /^not accepted for 2 of 3 recipients: eve@evil.example \(domain not allowed\), /
  })
  t.same(
    server.mails.map(({ to }) => to),
    [['ops@example.com']]
  )
})

import { CloudEvent } from 'cloudevents'
import t from 'tap'
import { testMessage } from '../../src/notifications/channels/message.ts'
import { noticeMessage } from '../../src/notifications/message.ts'
import { NOTICE_TYPES } from '../../src/notifications/types.ts'
import { ISSUER, NOTICE } from './channels/channel-options.ts'

t.test('the stock CloudEvents library accepts every event that grantd makes', async t => {
  const others = NOTICE_TYPES.map(type => noticeMessage({ ...NOTICE, type }, ISSUER))
  const expired = { ...NOTICE, step: 0, fired_at: new Date('2026-12-23T09:00:00.000Z') }
  for (const { event } of [
    ...others,
    noticeMessage(NOTICE, ISSUER),
    noticeMessage(expired, ISSUER),
    testMessage('id', ISSUER, 'acme', 'receiver', Date.now())
  ]) {
    t.ok(new CloudEvent({ ...event }).validate())
  }
  t.equal(noticeMessage(expired, ISSUER).event.type, 'com.grantd.registration.expired')
  t.throws(() => new CloudEvent({ ...noticeMessage(NOTICE, ISSUER).event, source: '' }), /source/)
})

t.test('a notice that fires late has the days that were left when it fired', async t => {
  const late = { ...NOTICE, fired_at: new Date('2026-12-20T10:00:00.000Z') }
  t.match(noticeMessage(late, ISSUER).event, { type: /expiring$/, data: { step: 30, daysLeft: 3 } })
  const tooLate = { ...NOTICE, fired_at: new Date('2026-12-24T10:00:00.000Z') }
  t.match(noticeMessage(tooLate, ISSUER).event, { type: /expired$/, data: { step: 30, daysLeft: 0 } })
})

t.test('the subject of a mail has the days that are left', async t => {
  const subject = (firedAt: string) => noticeMessage({ ...NOTICE, fired_at: new Date(firedAt) }, ISSUER).text.subject
  t.equal(subject('2026-11-23T09:00:05.000Z'), 'App registration expires in 30 days: billing export')
  t.equal(subject('2026-12-16T09:00:05.000Z'), 'App registration expires in 7 days: billing export')
  t.equal(subject('2026-12-22T10:00:00.000Z'), 'App registration expires in 1 day: billing export')
  t.equal(subject('2026-12-23T09:00:00.000Z'), 'App registration has expired: billing export')
})

t.test('every type of notice has an event type, a subject and a text of its own', async t => {
  const messages = NOTICE_TYPES.map(type =>
    noticeMessage({ ...NOTICE, type, details: { source: '192.0.2.1' } }, ISSUER)
  )
  t.equal(new Set(messages.map(({ event }) => event.type)).size, NOTICE_TYPES.length)
  t.equal(new Set(messages.map(({ text }) => text.subject)).size, NOTICE_TYPES.length)
  for (const { text } of messages) t.match(text.plain, 'Request from: 192.0.2.1')
  t.throws(() => noticeMessage({ ...NOTICE, type: 'of a later release' }, ISSUER), /does not know/)
})

// [NOTICE-33]
t.test('a mail shows the URL of a report as text, never as a link or as HTML', async t => {
  const details = { credential: 'previous', url: 'https://example.com/?a=1&b="<b>"', reporter: 'a <scanner>' }
  const { event, text } = noticeMessage({ ...NOTICE, type: 'secret_leaked', details }, ISSUER)
  t.match(event, { type: 'com.grantd.registration.secret_leaked', data: details })
  t.match(text.html, 'https://example.com/?a=1&amp;b=&quot;&lt;b&gt;&quot;')
  t.notMatch(text.html, /<a |<b>|<scanner>/)
  t.match(text.subject, 'Leaked previous Client secret retired: billing export')
})

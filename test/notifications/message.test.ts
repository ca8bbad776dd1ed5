import { CloudEvent } from 'cloudevents'
import t from 'tap'
import { testMessage } from '../../src/notifications/channels/message.ts'
import { noticeMessage } from '../../src/notifications/message.ts'
import { ISSUER, NOTICE } from './channels/channel-options.ts'

t.test('the stock CloudEvents library accepts every event that grantd makes', async t => {
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

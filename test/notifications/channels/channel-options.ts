import { AddressGuard } from '../../../src/notifications/channels/address-guard.ts'
import type { Attempt, ChannelOptions, MailOptions } from '../../../src/notifications/channels/channel.ts'
import { type NoticeOfEvent, noticeMessage } from '../../../src/notifications/message.ts'

export const ISSUER = 'https://grantd.example.com'

export const NOTICE: NoticeOfEvent = {
  notice_id: 'a1b2c3d4-0000-4000-8000-000000000000',
  site_id: 'acme',
  client_id: 'k3v9x2m7q1w8z5t4r6y0',
  name: 'billing export',
  enabled: true,
  expires_at: new Date('2026-12-23T09:00:00.000Z'),
  type: 'expiry',
  details: {},
  step: 30,
  fired_at: new Date('2026-11-23T09:00:05.000Z')
}

/** Returns options with which webhooks may go to this machine. */
export function channelOptions(mail?: Partial<MailOptions>): ChannelOptions {
  return {
    guard: new AddressGuard({ items: ['127.0.0.1'], allowsPlainHttp: true }),
    resolve: async () => [],
    timeoutMs: 5_000,
    mail: mail && { smtpUrl: '', from: 'grantd@example.com', domains: [], ...mail }
  }
}

/** Returns one try of sending the notice. */
export function attempt(target: Attempt['target'], more: Partial<Attempt> = {}): Attempt {
  const { signal } = new AbortController()
  return {
    target,
    message: noticeMessage(NOTICE, ISSUER),
    secrets: [],
    reached: [],
    sentAt: Date.now(),
    signal,
    ...more
  }
}

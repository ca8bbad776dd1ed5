import type { NoticeTable } from '../database/schema.ts'
import { expiresInDays } from '../registrations/lifecycle.ts'
import type { Message } from './channels/message.ts'

/** A notice, with its id as the id of the event. */
export type NoticeOfEvent = Omit<NoticeTable, 'id'> & { notice_id: string }

/**
 * Makes the message of a notice. It describes the registration as it was when the notice fired, so that every try of a
 * delivery sends the same.
 *
 * @param issuer `source` of the event
 */
export function noticeMessage(notice: NoticeOfEvent, issuer: string): Message {
  const daysLeft = expiresInDays(notice.expires_at.getTime(), notice.fired_at.getTime())
  return {
    event: {
      specversion: '1.0',
      id: notice.notice_id,
      source: issuer,
      type: daysLeft === 0 ? 'com.grantd.registration.expired' : 'com.grantd.registration.expiring',
      subject: notice.client_id,
      time: notice.fired_at.toISOString(),
      datacontenttype: 'application/json',
      data: {
        site: notice.site_id,
        clientId: notice.client_id,
        name: notice.name,
        expiresAt: notice.expires_at.toISOString(),
        enabled: notice.enabled,
        step: notice.step,
        daysLeft
      }
    },
    text: textOf(notice, daysLeft)
  }
}

function textOf(notice: NoticeOfEvent, daysLeft: number): Message['text'] {
  const happening = daysLeft === 0 ? 'has expired' : `expires in ${daysLeft} ${daysLeft === 1 ? 'day' : 'days'}`
  const consequence =
    daysLeft === 0
      ? 'Its Client secret is refused. Renew the registration, and the same Client ID and Client secret work again.'
      : 'After that its Client secret is refused. Renew the registration to keep Client ID and Client secret working.'
  const facts = [
    ['Name', notice.name],
    ['Client ID', notice.client_id],
    ['Site', notice.site_id],
    ['Expires', notice.expires_at.toISOString()],
    ['Enabled', notice.enabled ? 'yes' : 'no']
  ] as const
  const rows = facts.map(([term, value]) => `<tr><td>${term}</td><td>${escapeHtml(value)}</td></tr>`).join('\n')
  return {
    subject: `App registration ${happening}: ${notice.name}`,
    plain: `An App registration ${happening}.\n\n${facts.map(([term, value]) => `${term}: ${value}`).join('\n')}\n\n${consequence}\n`,
    html: `<p>An App registration ${happening}.</p>\n<table>\n${rows}\n</table>\n<p>${consequence}</p>\n`
  }
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, character => ENTITIES[character] ?? '')
}

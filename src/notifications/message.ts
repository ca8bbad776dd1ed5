import type { Message } from './channels/message.ts'
import type { Notice } from './repository.ts'
import { describeNotice } from './types.ts'

/** A notice, with its id as the id of the event. */
export type NoticeOfEvent = Omit<Notice, 'id'> & { notice_id: string }

/**
 * Makes the message of a notice. It describes the registration as it was when the notice fired, so that every try of a
 * delivery sends the same.
 *
 * @param issuer `source` of the event
 */
export function noticeMessage(notice: NoticeOfEvent, issuer: string): Message {
  const description = describeNotice(notice)
  return {
    event: {
      specversion: '1.0',
      id: notice.notice_id,
      source: issuer,
      type: `com.grantd.registration.${description.event}`,
      subject: notice.client_id,
      time: notice.fired_at.toISOString(),
      datacontenttype: 'application/json',
      data: {
        site: notice.site_id,
        clientId: notice.client_id,
        name: notice.name,
        expiresAt: notice.expires_at.toISOString(),
        enabled: notice.enabled,
        ...description.data
      }
    },
    text: textOf(notice, description)
  }
}

function textOf(
  notice: NoticeOfEvent,
  { subject, happening, advice }: ReturnType<typeof describeNotice>
): Message['text'] {
  const facts = [
    ['Name', notice.name],
    ['Client ID', notice.client_id],
    ['Site', notice.site_id],
    ['Expires', notice.expires_at.toISOString()],
    ['Enabled', notice.enabled ? 'yes' : 'no'],
    ...DETAILS.flatMap(([member, term]) => {
      const value = notice.details[member]
      return typeof value === 'string' ? [[term, value] as const] : []
    })
  ] as const
  const rows = facts.map(([term, value]) => `<tr><td>${term}</td><td>${escapeHtml(value)}</td></tr>`).join('\n')
  return {
    subject: `${subject}: ${notice.name}`,
    plain: `${happening}\n\n${facts.map(([term, value]) => `${term}: ${value}`).join('\n')}\n\n${advice}\n`,
    html: `<p>${happening}</p>\n<table>\n${rows}\n</table>\n<p>${advice}</p>\n`
  }
}

/** Details that a mail shows. A URL is shown as text, never as a link: a stranger has written it. */
const DETAILS = [
  ['quietSince', 'Unused since'],
  ['disablesAt', 'Will be disabled'],
  ['source', 'Request from'],
  ['url', 'Found at'],
  ['reporter', 'Reported by']
] as const

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, character => ENTITIES[character] ?? '')
}

import { ANNOUNCED_TYPES } from '../registrations/announcement.ts'
import { expiresInDays } from '../registrations/lifecycle.ts'
import type { Notice } from './repository.ts'

/** The types of notices, written down once. A new type is an entry here and in `DESCRIPTIONS`. */
export const NOTICE_TYPES = ['expiry', ...ANNOUNCED_TYPES] as const
export type NoticeType = (typeof NOTICE_TYPES)[number]

/** The words and members of a notice, beside the registration that it is about. */
interface Description {
  /** Last part of the event's type. */
  event: string
  /** Members of the event's data. */
  data: Record<string, unknown>
  /** Subject of a mail, without the name of the registration. */
  subject: string
  /** The first sentence of a mail. */
  happening: string
  /** The last sentences of a mail: what to do. */
  advice: string
}

/**
 * Describes a notice in words and as members of an event.
 *
 * @throws Error for a type that only a later release knows. An instance of that release delivers it
 */
export function describeNotice(notice: Omit<Notice, 'id'>): Description {
  const type = NOTICE_TYPES.find(name => name === notice.type)
  if (type === undefined) throw new Error(`this release does not know notices of type ${notice.type}`)
  return DESCRIPTIONS[type](notice)
}

const DESCRIPTIONS: Record<NoticeType, (notice: Omit<Notice, 'id'>) => Description> = {
  expiry: describeExpiry,
  claim_reused: ({ details }) => ({
    event: 'claim_reused',
    data: details,
    subject: 'Claim ticket used again',
    happening: 'A claim ticket of an App registration was presented again after it had been used.',
    advice:
      'Somebody else has the ticket. If the first use was not by the owner of the service, rotate the Client secret with an overlap of 0.'
  }),
  secret_leaked: ({ details }) => ({
    event: 'secret_leaked',
    data: details,
    ...(details['credential'] === 'previous' ? LEAKED_PREVIOUS : LEAKED_CURRENT)
  }),
  unused: ({ details }) => ({
    event: 'unused',
    data: details,
    subject: 'App registration is unused',
    happening: 'Nobody uses an App registration.',
    advice: UNUSED_ADVICE
  }),
  unused_disabled: ({ details }) => ({
    event: 'unused_disabled',
    data: details,
    subject: 'Unused App registration disabled',
    happening: 'Nobody has used an App registration for a long time. grantd has disabled it.',
    advice: 'Delete it, or enable it again if its service is still needed.'
  }),
  secret_self_rotated: ({ details }) => ({
    event: 'secret_self_rotated',
    data: details,
    subject: 'Client secret rotated by its client',
    happening: 'A client has exchanged its Client secret for a new one.',
    advice: 'If this was not the owner of the service, rotate the Client secret with an overlap of 0.'
  })
}

const UNUSED_ADVICE =
  'Delete it when it is not needed. If its service runs rarely, let it idle (mayIdle), so that grantd does not disable it.'

const LEAKED_CURRENT = {
  subject: 'Leaked Client secret stopped',
  happening: 'The Client secret of an App registration was reported as leaked. grantd has disabled the registration.',
  advice:
    'The reported Client secret never works again. Give the owner of the service a new one, then enable the registration. A previous credential that has not ended works again then.'
}

const LEAKED_PREVIOUS = {
  subject: 'Leaked previous Client secret retired',
  happening: 'The previous Client secret of an App registration was reported as leaked. grantd has retired it.',
  advice: 'The current Client secret goes on working. A service that still has the previous one needs it now.'
}

function describeExpiry({ step, expires_at, fired_at }: Omit<Notice, 'id'>): Description {
  const daysLeft = expiresInDays(expires_at.getTime(), fired_at.getTime())
  const data = { step, daysLeft }
  if (daysLeft === 0) {
    return {
      event: 'expired',
      data,
      subject: 'App registration has expired',
      happening: 'An App registration has expired.',
      advice:
        'Its Client secret is refused. Renew the registration, and the same Client ID and Client secret work again.'
    }
  }
  const happening = `App registration expires in ${daysLeft} ${daysLeft === 1 ? 'day' : 'days'}`
  return {
    event: 'expiring',
    data,
    subject: happening,
    happening: `An ${happening}.`,
    advice:
      'After that its Client secret is refused. Renew the registration to keep Client ID and Client secret working.'
  }
}

import { Type } from 'typebox'
import { withinTime } from '../../concurrency/timeout.ts'
import { isLoopback } from '../../http/loopback.ts'
import type { Fault } from '../../http/problem.ts'
import {
  type Attempt,
  type Channel,
  type ChannelOptions,
  failed,
  type MailOptions,
  type Outcome,
  type Target
} from './channel.ts'
import type { Message } from './message.ts'

const MAX_ADDRESSES = 20
const ADDRESS_MAX_LENGTH = 254

/** Sends a mail by the configured SMTP server to one or more addresses. */
export const mail: Channel = {
  kind: 'mail',
  members: {
    addresses: Type.Array(
      Type.String({
        maxLength: ADDRESS_MAX_LENGTH,
        pattern: "^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$",
        'x-fault': 'must be a mail address, such as ops@example.com',
        description: 'A mail address'
      }),
      {
        minItems: 1,
        maxItems: MAX_ADDRESSES,
        uniqueItems: true,
        description: 'Recipients of a mail receiver',
        examples: [['ops@example.com']]
      }
    )
  },
  hasSigningSecret: false,
  findObstacle,
  findFaults,
  redact: target => target,
  send
}

function findObstacle({ mail: options }: ChannelOptions): Fault | undefined {
  if (options !== undefined) return undefined
  return {
    pointer: '/kind',
    code: 'mail_not_configured',
    detail: 'cannot be mail, because no mail server is configured'
  }
}

async function findFaults({ mail: options }: ChannelOptions, target: Target): Promise<Fault[]> {
  const domains = options?.domains ?? []
  return addressesOf(target).flatMap((address, index) =>
    isAllowed(domains, address)
      ? []
      : [
          {
            pointer: `/addresses/${index}`,
            code: 'domain_not_allowed',
            detail: `must be in one of these domains: ${domains.join(', ')}`
          }
        ]
  )
}

async function send({ mail: options }: ChannelOptions, attempt: Attempt): Promise<Outcome> {
  if (options === undefined) return failed('no mail server is configured')
  const { target, message, reached, signal } = attempt
  const addresses = addressesOf(target)
  const waiting = addresses.filter(address => !reached.includes(address))
  const allowed = waiting.filter(address => isAllowed(options.domains, address))
  const refusals = allowed.length === 0 ? [] : await sendMail(options, allowed, message, signal)
  const isRefused = (address: string) => refusals.some(refusal => refusal.address === address.toLowerCase())
  const complaints = [
    ...refusals.map(({ address, reason }) => `${address} (${reason})`),
    ...waiting.filter(address => !allowed.includes(address)).map(address => `${address} (domain not allowed)`)
  ]
  if (complaints.length === 0) return { isDelivered: true, detail: 'accepted by the mail server' }
  return failed(`not accepted for ${complaints.length} of ${addresses.length} recipients: ${complaints.join(', ')}`, {
    reached: [...reached, ...allowed.filter(address => !isRefused(address))]
  })
}

/** A recipient that the mail server refused. The address is in lower case. */
interface Refusal {
  address: string
  reason: string
}

function refusalsOf(rejectedErrors: readonly unknown[]): Refusal[] {
  return rejectedErrors.map(error => {
    const { recipient, responseCode } = Object(error)
    return { address: String(recipient).toLowerCase(), reason: String(responseCode ?? 'refused') }
  })
}

/** Limit of a whole mail, and of each of its steps, milliseconds. */
const MAIL_TIMEOUT_MS = 15_000
const STEP_TIMEOUT_MS = 10_000

/**
 * Hands a mail to the SMTP server. nodemailer is loaded with the first mail.
 *
 * @returns the recipients that the server refused; it took the mail for the others
 * @throws the server's refusal or the socket's error, with `responseCode` or `code`; the signal's reason
 */
async function sendMail(
  { smtpUrl, from }: MailOptions,
  addresses: readonly string[],
  { event, text: { subject, plain, html } }: Message,
  signal: AbortSignal
): Promise<Refusal[]> {
  const { createTransport } = await import('nodemailer')
  // A password never goes over a network in the clear, even if somebody on the way removes STARTTLS.
  const requireTLS = new URL(smtpUrl).username !== '' && !isLoopback(smtpUrl)
  const transport = createTransport({
    url: smtpUrl,
    // Servers refuse an address literal, which would be the name on a machine whose host name has no domain.
    name: domainOf(from),
    requireTLS,
    // Where plain text would be accepted, TLS without a trusted certificate is no worse. `smtps:` always verifies.
    tls: { rejectUnauthorized: requireTLS || smtpUrl.startsWith('smtps:') },
    connectionTimeout: STEP_TIMEOUT_MS,
    greetingTimeout: STEP_TIMEOUT_MS,
    socketTimeout: STEP_TIMEOUT_MS,
    // A mail is text: nothing in it may name a file or a URL to fetch.
    disableFileAccess: true,
    disableUrlAccess: true
  })
  try {
    const { rejectedErrors = [] } = await withinTime(MAIL_TIMEOUT_MS, signal, () =>
      transport.sendMail({
        from,
        to: [...addresses],
        subject: oneLine(subject),
        text: plain,
        html,
        date: new Date(event.time),
        // Every try has the same, so that mailboxes recognise a repetition.
        messageId: `<${event.id}@${domainOf(from)}>`,
        headers: { 'Auto-Submitted': 'auto-generated' }
      })
    )
    return refusalsOf(rejectedErrors)
  } catch (error) {
    // It refused every recipient.
    const { rejectedErrors } = Object(error)
    if (Array.isArray(rejectedErrors) && rejectedErrors.length > 0) return refusalsOf(rejectedErrors)
    throw error
  } finally {
    transport.close()
  }
}

function isAllowed(domains: readonly string[], address: string): boolean {
  return domains.length === 0 || domains.includes(domainOf(address).toLowerCase())
}

function addressesOf({ addresses }: Target): string[] {
  return Array.isArray(addresses) ? addresses.map(String) : []
}

/** Keeps a header on one line, whatever characters a name has. */
function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
}

/** Returns the domain of a mail address, with or without a display name. */
function domainOf(address: string): string {
  return /@([A-Za-z0-9.-]+)>?\s*$/.exec(address)?.[1] ?? 'grantd.invalid'
}

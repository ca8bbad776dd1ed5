import { withinTime } from '../../concurrency/timeout.ts'
import { isLoopback } from '../../http/loopback.ts'
import type { Message } from './message.ts'

export interface MailNeeds {
  /** `smtp:` or `smtps:` URL, with credentials. */
  smtpUrl: string
  from: string
}

/** Everything of one mail, milliseconds. */
const MAIL_TIMEOUT_MS = 15_000
const STEP_TIMEOUT_MS = 10_000

/**
 * Hands a mail to the SMTP server of the configuration. nodemailer is loaded with the first one.
 *
 * @throws the server's refusal or the socket's error, with `responseCode` or `code`; the signal's reason
 */
export async function sendMail(
  { smtpUrl, from }: MailNeeds,
  addresses: readonly string[],
  { event, mail }: Message,
  signal: AbortSignal
): Promise<void> {
  const { createTransport } = await import('nodemailer')
  const transport = createTransport({
    url: smtpUrl,
    // A password never goes over a network in the clear, nor does it when somebody on the way takes STARTTLS out.
    requireTLS: new URL(smtpUrl).username !== '' && !isLoopback(smtpUrl),
    connectionTimeout: STEP_TIMEOUT_MS,
    greetingTimeout: STEP_TIMEOUT_MS,
    socketTimeout: STEP_TIMEOUT_MS,
    // A mail is text: nothing in it names a file or a URL to fetch.
    disableFileAccess: true,
    disableUrlAccess: true
  })
  try {
    await withinTime(MAIL_TIMEOUT_MS, signal, () =>
      transport.sendMail({
        from,
        to: [...addresses],
        subject: oneLine(mail.subject),
        text: mail.text,
        html: mail.html,
        date: new Date(event.time),
        // The same on every try, so that mailboxes can tell a repetition.
        messageId: `<${event.id}@${domainOf(from)}>`,
        headers: { 'Auto-Submitted': 'auto-generated' }
      })
    )
  } finally {
    transport.close()
  }
}

/** A header is one line whatever is in it. */
function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
}

function domainOf(from: string): string {
  return /@([A-Za-z0-9.-]+)>?\s*$/.exec(from)?.[1] ?? 'grantd.invalid'
}

import { type GuardedPostNeeds, guardedPost, TargetRefused } from './guarded-post.ts'
import { type MailNeeds, sendMail } from './mail.ts'
import type { Message } from './message.ts'
import { webhookHeaders } from './webhook.ts'

/** Where a message goes. */
export type Target =
  | { kind: 'webhook'; url: string; secrets: readonly string[] }
  | { kind: 'mail'; addresses: readonly string[] }

/** How one try went. `detail` is from a fixed vocabulary: nothing that the other side said. */
export type Outcome =
  | { isDelivered: true; detail: string }
  | { isDelivered: false; detail: string /** Trying again is of no use. */; isFinal: boolean }

export interface SenderNeeds extends GuardedPostNeeds {
  /** Undefined where no mail is configured. */
  mail: MailNeeds | undefined
  /** Milliseconds since the epoch. */
  now: () => number
}

/** @throws only the signal's reason, when it is aborted */
export async function sendMessage(
  needs: SenderNeeds,
  target: Target,
  message: Message,
  signal: AbortSignal
): Promise<Outcome> {
  try {
    return target.kind === 'webhook'
      ? await sendWebhook(needs, target.url, target.secrets, message, signal)
      : await sendByMail(needs, target.addresses, message, signal)
  } catch (error) {
    if (signal.aborted) throw signal.reason
    return failed(explain(error))
  }
}

const CONTENT_TYPE = 'application/cloudevents+json; charset=utf-8'
/** Standard Webhooks: the receiver wants no more of it. */
const GONE = 410

async function sendWebhook(
  needs: SenderNeeds,
  url: string,
  secrets: readonly string[],
  { event }: Message,
  signal: AbortSignal
): Promise<Outcome> {
  const body = Buffer.from(JSON.stringify(event))
  const headers = {
    'content-type': CONTENT_TYPE,
    'user-agent': 'grantd',
    ...webhookHeaders(event.id, body, secrets, needs.now())
  }
  const status = await guardedPost(needs, url, headers, body, signal)
  if (status >= 200 && status < 300) return { isDelivered: true, detail: `answered ${status}` }
  return failed(`answered ${status}`, status === GONE)
}

async function sendByMail(
  { mail }: SenderNeeds,
  addresses: readonly string[],
  message: Message,
  signal: AbortSignal
): Promise<Outcome> {
  if (mail === undefined) return failed('no mail server is configured')
  await sendMail(mail, addresses, message, signal)
  return { isDelivered: true, detail: 'taken by the mail server' }
}

function failed(detail: string, isFinal = false): Outcome {
  return { isDelivered: false, detail, isFinal }
}

function explain(error: unknown): string {
  if (error instanceof TargetRefused) return 'the address is not one to send to'
  const { name, code, responseCode } = Object(error)
  if (name === 'TimeoutError') return 'no answer in time'
  if (typeof responseCode === 'number') return `the mail server answered ${responseCode}`
  return typeof code === 'string' && /^[A-Z0-9_]{1,60}$/.test(code) ? `failed: ${code}` : 'failed'
}

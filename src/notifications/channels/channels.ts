import { TargetRefused } from './address-guard.ts'
import { type Attempt, type Channel, type ChannelOptions, failed, type Outcome } from './channel.ts'
import { mail } from './mail.ts'
import { isUnknownHost } from './resolve.ts'
import { webhook } from './webhook.ts'

/** The ways to notify a receiver. A new one is a file in this folder and an entry here. */
export const CHANNELS: readonly Channel[] = [webhook, mail]

/** Returns the channel of this kind. @throws Error for a kind that a later version of grantd has stored */
export function channelOf(kind: string): Channel {
  const channel = CHANNELS.find(candidate => candidate.kind === kind)
  if (channel === undefined) throw new Error(`no channel sends to receivers of kind ${kind}`)
  return channel
}

/** Sends a message once. A failure is an outcome. @throws the signal's reason when it is aborted for another cause than time */
export async function sendMessage(options: ChannelOptions, kind: string, attempt: Attempt): Promise<Outcome> {
  try {
    return await channelOf(kind).send(options, attempt)
  } catch (error) {
    const { signal } = attempt
    if (signal.aborted && !isTimeout(signal.reason)) throw signal.reason
    return failed(explain(error))
  }
}

/** Says why a try failed, in words of our own. */
function explain(error: unknown): string {
  // A host that does not exist is answered like a private one, so that tests cannot map the internal network.
  if (error instanceof TargetRefused || isUnknownHost(error)) return 'the host does not lead to a public address'
  if (isTimeout(error)) return 'no answer in time'
  const { code, originalCode = code, responseCode } = Object(error)
  if (typeof responseCode === 'number') return `the mail server answered ${responseCode}`
  if (typeof originalCode !== 'string' || !/^[A-Z0-9_]{1,60}$/.test(originalCode)) return 'failed'
  return CERTIFICATE_ERROR.test(originalCode)
    ? `the certificate is not trusted: ${originalCode}`
    : `failed: ${originalCode}`
}

/** Codes of Node.js and OpenSSL for a certificate that was refused. */
const CERTIFICATE_ERROR = /CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)/

function isTimeout(error: unknown): boolean {
  return Object(error).name === 'TimeoutError'
}

import type { TSchema } from 'typebox'
import type { Fault } from '../../http/problem.ts'
import type { GuardedPostOptions } from './guarded-post.ts'
import type { Message } from './message.ts'

/** Address of a receiver: the members of its channel, such as `{ url }` or `{ addresses }`. */
export type Target = Record<string, unknown>

/** The parts that channels send with. */
export interface ChannelOptions extends GuardedPostOptions {
  /** Undefined when no mail server is configured. */
  mail: MailOptions | undefined
}

export interface MailOptions {
  /** `smtp:` or `smtps:` URL, with credentials. */
  smtpUrl: string
  from: string
  /** Domains that mails may go to, in lower case. Empty for any. */
  domains: readonly string[]
}

/** One try of sending a message. */
export interface Attempt {
  target: Target
  message: Message
  /** Secrets that sign the message, the newest first. Empty for a channel without signing secrets. */
  secrets: readonly string[]
  /** Recipients of the target that an earlier try has reached. They do not get the message again. */
  reached: readonly string[]
  /** Instant of this try, milliseconds since the epoch. Receivers refuse a signature whose instant is minutes off. */
  sentAt: number
  signal: AbortSignal
}

/** Result of one try. `detail` is for administrators: it has our own words only, and nothing that the other side said. */
export type Outcome =
  | { isDelivered: true; detail: string }
  | {
      isDelivered: false
      detail: string
      /** Whether another try is pointless. */
      isFinal: boolean
      /** Recipients that this and earlier tries have reached. */
      reached?: readonly string[]
    }

/** One way to notify a receiver. `channels.ts` lists them all. */
export interface Channel {
  /** Value of a receiver's `kind`. */
  kind: string
  /** JSON Schema of each member of a target. All of them are required. */
  members: Record<string, TSchema>
  /** Whether each receiver has a signing secret of its own. */
  hasSigningSecret: boolean
  /** Returns why no receiver of this channel can be created here; undefined when one can. */
  findObstacle: (options: ChannelOptions) => Fault | undefined
  /** Returns the faults of a target that the JSON Schema cannot find. On a change it has the changed members only. */
  findFaults: (options: ChannelOptions, target: Target) => Promise<Fault[]>
  /** Returns a target as audit events show it, without the parts that let a sender in. */
  redact: (target: Target) => Target
  /** Sends a message once. @throws what prevented it */
  send: (options: ChannelOptions, attempt: Attempt) => Promise<Outcome>
}

/** Makes the outcome of a failed try. */
export function failed(detail: string, more: { isFinal?: boolean; reached?: readonly string[] } = {}): Outcome {
  return { isDelivered: false, detail, isFinal: false, ...more }
}

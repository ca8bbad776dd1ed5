import { Type } from 'typebox'
import { within } from '../../concurrency/timeout.ts'
import type { Fault } from '../../http/problem.ts'
import { NOT_PUBLIC, TargetRefused } from './address-guard.ts'
import { type Attempt, type Channel, type ChannelOptions, failed, type Outcome, type Target } from './channel.ts'
import { guardedPost, permittedAddresses } from './guarded-post.ts'
import { isUnknownHost } from './resolve.ts'
import { webhookHeaders } from './standard-webhooks.ts'

const URL_MAX_LENGTH = 2_000

/** Posts a CloudEvents 1.0 event, signed by Standard Webhooks, to a URL. */
export const webhook: Channel = {
  kind: 'webhook',
  members: {
    url: Type.String({
      minLength: 1,
      maxLength: URL_MAX_LENGTH,
      description:
        'URL of a webhook. It must be https, without credentials or a fragment, and must lead to a public address. grantd does not follow redirects.',
      examples: ['https://hooks.example.com/grantd']
    })
  },
  hasSigningSecret: true,
  findObstacle: () => undefined,
  findFaults,
  redact: target => ({ url: redactUrl(urlOf(target)) }),
  send
}

const CONTENT_TYPE = 'application/cloudevents+json; charset=utf-8'
/** The receiver wants no more events (Standard Webhooks). */
const GONE = 410

async function send(options: ChannelOptions, { target, message, secrets, sentAt, signal }: Attempt): Promise<Outcome> {
  const body = Buffer.from(JSON.stringify(message.event))
  const headers = {
    'content-type': CONTENT_TYPE,
    'user-agent': 'grantd',
    ...webhookHeaders(message.event.id, body, secrets, sentAt)
  }
  const status = await guardedPost(options, urlOf(target), headers, body, signal)
  if (status >= 200 && status < 300) return { isDelivered: true, detail: `answered ${status}` }
  return failed(`answered ${status}`, { isFinal: status === GONE })
}

/** A URL whose name servers do not answer in this time may be saved. Each request checks its addresses again. */
const RESOLVE_WAIT_MS = 2_000

async function findFaults(options: ChannelOptions, target: Target): Promise<Fault[]> {
  if (target['url'] === undefined) return []
  const url = urlOf(target)
  const detail = options.guard.urlFault(url)
  if (detail !== undefined) return [fault(detail)]
  let isRefused = false
  const check = permittedAddresses(options, new URL(url)).catch((error: unknown) => {
    // A host that does not exist is refused like a private one. Otherwise the answer would tell which names exist.
    isRefused = error instanceof TargetRefused || isUnknownHost(error)
  })
  await within(RESOLVE_WAIT_MS, check)
  return isRefused ? [fault(NOT_PUBLIC)] : []
}

function fault(detail: string): Fault {
  return { pointer: '/url', code: 'invalid_value', detail }
}

/** Keeps the origin only: path and query of a webhook often are what lets its caller in. */
function redactUrl(url: string): string {
  const { origin, pathname, search } = new URL(url)
  return pathname === '/' && search === '' ? origin : `${origin}/…`
}

function urlOf({ url }: Target): string {
  return String(url)
}

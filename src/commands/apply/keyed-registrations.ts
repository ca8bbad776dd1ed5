import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { SECOND_MS } from '../../time.ts'
import { type Answer, refusal } from '../cli/answer.ts'
import { call } from '../cli/call.ts'

/** How a registration is put. */
export interface PutOptions {
  /** Entity tag of the registration. Undefined when there was none, so that the PUT may only create. */
  etag: string | undefined
  allowShorter: boolean
  dryRun: boolean
}

/** The registrations of one Site that have a key, over HTTP. A request that gets no answer, or 503, is sent again. */
export class KeyedRegistrations {
  readonly #site: string
  readonly #token: string

  /** @param baseUrl of grantd, without a slash at its end */
  constructor(baseUrl: string, token: string, siteId: string) {
    this.#site = `${baseUrl}/v1/sites/${siteId}`
    this.#token = token
  }

  /** Requires that the token administers the Site. @throws Error when it does not, or the service is not grantd */
  async requireSite(): Promise<void> {
    await this.#page(new URL(`${this.#site}/app-registrations?limit=1`))
  }

  /** Finds the registration of a key. @throws Error when the answer is neither the registration nor 404 */
  async find(key: string): Promise<Answer | undefined> {
    const answer = await this.#send('GET', this.#urlOf(key))
    return answer.status === 404 ? undefined : registrationIn(accepted(answer), key)
  }

  /**
   * Puts the registration of a key as it was found. A retry gets the same secret.
   *
   * @throws Error when the token gives no right to do this, or the answer is another registration, or none
   */
  async put(key: string, body: object, { etag, allowShorter, dryRun }: PutOptions): Promise<Answer> {
    const url = this.#urlOf(key, { allowShorter: String(allowShorter), dryRun: String(dryRun) })
    const condition = etag === undefined ? { 'if-none-match': '*' } : { 'if-match': etag }
    const headers = { 'content-type': 'application/json', 'idempotency-key': randomUUID(), ...condition }
    const answer = await this.#send('PUT', url, headers, JSON.stringify(body))
    if ([401, 403, 404].includes(answer.status)) return accepted(answer)
    return answer.status < 300 ? registrationIn(answer, key) : answer
  }

  /** Deletes the registration of a key when nobody has used it in this time. @param unusedFor ISO 8601 duration */
  delete(key: string, unusedFor: string): Promise<Answer> {
    return this.#send('DELETE', this.#urlOf(key, { unusedFor }))
  }

  /** Lists all registrations that have a key. @throws Error when an answer is not 200 */
  async list(): Promise<Record<string, unknown>[]> {
    const items: Record<string, unknown>[] = []
    const url = new URL(`${this.#site}/app-registrations?keyed=true&limit=200`)
    for (;;) {
      const page = await this.#page(url)
      items.push(...page.items)
      if (page.nextCursor === null) return items
      url.searchParams.set('cursor', page.nextCursor)
    }
  }

  /** Returns a page of a listing. @throws Error when the answer is none */
  async #page(url: URL): Promise<{ items: Record<string, unknown>[]; nextCursor: string | null }> {
    const { items, nextCursor } = Object(accepted(await this.#send('GET', url)).body)
    if (Array.isArray(items) && (nextCursor === null || typeof nextCursor === 'string')) return { items, nextCursor }
    throw new Error(NOT_GRANTD)
  }

  #urlOf(key: string, query: Record<string, string> = {}): URL {
    return new URL(`${this.#site}/keyed-app-registrations/${key}?${new URLSearchParams(query)}`)
  }

  async #send(method: string, url: URL, headers: Record<string, string> = {}, body?: string): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      const isLast = attempt === ATTEMPTS
      const answer = await call({ method, url, headers, body }, this.#token).catch((error: unknown) => {
        if (isLast) throw error
        return undefined
      })
      if (answer !== undefined && (isLast || !BUSY.includes(answer.status))) return answer
      const seconds = Number(answer?.headers.get('retry-after') ?? 1)
      await sleep(Math.min(seconds, MAX_PAUSE_SECONDS) * SECOND_MS)
    }
  }
}

const ATTEMPTS = 4
const MAX_PAUSE_SECONDS = 10
const BUSY = [429, 503]
const NOT_GRANTD = 'GRANTD_URL is another service: its answer is none of grantd'

/** @throws Error when an answer is not the registration of this key */
function registrationIn(answer: Answer, key: string): Answer {
  const { key: answered, clientId } = Object(answer.body)
  if (answered === key && typeof clientId === 'string') return answer
  throw new Error(NOT_GRANTD)
}

function accepted(answer: Answer): Answer {
  if (answer.status === 200) return answer
  const hint =
    answer.status === 404 ? 'GRANTD_TOKEN does not administer this Site, or GRANTD_URL is another service: ' : ''
  throw new Error(`${hint}${refusal(answer)}`)
}

import type { Test } from 'tap'
import { send } from '../fixtures/app/grantd.ts'
import { until } from '../fixtures/run/until.ts'
import type { Tokens } from './tokens.ts'

/** What the examples of docs/resource-servers.md guard. */
export const DEVICES = '/sites/acme/devices'

/** Whether a verifier accepts a token. */
export type Accepts = (token: string | undefined) => Promise<boolean>

/** Returns how a verifier on this port judges tokens, once it listens. */
export async function verifierAt(port: number): Promise<Accepts> {
  const accepts: Accepts = async token => (await ask(port, token)).status === 200
  const isListening = () =>
    accepts(undefined).then(
      () => true,
      () => false
    )
  await until('the verifier listens', isListening)
  return accepts
}

/** Sends a request with a token. @throws Error when the answer is neither 200 nor a refusal */
export async function ask(port: number, token: string | undefined) {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  const answer = await send('GET', `http://127.0.0.1:${port}${DEVICES}`, { headers })
  const isRefused = answer.status >= 400 && answer.status < 500 && answer.status !== 404
  if (answer.status !== 200 && !isRefused) throw new Error(`the verifier answers ${answer.status}: ${answer.text}`)
  return answer
}

/**
 * Holds a verifier against the tokens: it accepts the good one and no other, and it goes on while grantd is away.
 *
 * @param overlooked names of tokens that it accepts although it should not
 */
export async function holdsAgainst(
  t: Test,
  accepts: Accepts,
  tokens: Tokens,
  overlooked: string[] = []
): Promise<void> {
  t.equal(await accepts(tokens.good), true, 'a good token is accepted')
  for (const [what, token] of Object.entries(tokens.rejected)) {
    t.equal(
      await accepts(token),
      overlooked.includes(what),
      `${what} is ${overlooked.includes(what) ? 'accepted' : 'rejected'}`
    )
  }
  await tokens.grantd.close()
  t.equal(await accepts(tokens.good), true, 'a good token is accepted while grantd is away')
}

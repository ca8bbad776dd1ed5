import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { Test } from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { send } from '../fixtures/app/grantd.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { until } from '../fixtures/run/until.ts'

/** Of the API in the examples of docs/resource-servers.md. */
export const AUDIENCE = 'https://devices.example.com'
const OTHER_AUDIENCE = 'https://billing.example.com'

const PAGE = path.join(ROOT, 'docs/resource-servers.md')

/**
 * Returns an example of docs/resource-servers.md for another issuer.
 *
 * @param heading that the example stands below, in bold
 * @param replacements of other texts in it, such as its port
 */
export function exampleOf(heading: string, issuer: string, replacements: Record<string, string>): string {
  const [, below] = readFileSync(PAGE, 'utf8').split(`**${heading}`)
  const [, example] = /```\w+\n([\s\S]*?)```/.exec(below ?? '') ?? []
  if (example === undefined) throw new Error(`${PAGE} has no example of ${heading}`)
  return Object.entries({ 'https://grantd.example.com': issuer, ...replacements }).reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`the example of ${heading} has no ${from}`)
    return text.replaceAll(from, to)
  }, example)
}

/**
 * Starts grantd. Returns a token that a verifier for AUDIENCE must accept, and tokens that it must reject.
 *
 * @param issuer the URL of grantd by default
 */
export async function startIssuer(t: Test, issuer?: string) {
  const environment = issuer === undefined ? {} : { ISSUER: issuer }
  const grantd = await startApp(t, { environment })
  const url = issuer ?? grantd.baseUrl
  const foreign = await startApp(t, { environment: { ISSUER: url } })
  const late = await startApp(t, {
    databaseUrl: grantd.databaseUrl,
    now: () => Date.now() - 7_200_000,
    environment: { ISSUER: url }
  })
  const elsewhere = await startApp(t, { databaseUrl: grantd.databaseUrl })
  const audiences = [AUDIENCE, OTHER_AUDIENCE]
  const client = await grantd.register({ scopes: ['devices:read'], audiences })
  const tokenOf = async (of: typeof grantd, by = client, resource = AUDIENCE): Promise<string> => {
    const credentials = { client_id: by.clientId, client_secret: by.clientSecret }
    return (await of.requestToken({ ...credentials, resource })).json().access_token
  }
  const good = await tokenOf(grantd)
  const [header = '', payload = '', signature = ''] = good.split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const rejected: Record<string, string | undefined> = {
    'no token': undefined,
    'a token for another audience': await tokenOf(grantd, client, OTHER_AUDIENCE),
    'a token with another iss, signed by the same key': await tokenOf(elsewhere),
    'a token that another key signed': await tokenOf(foreign, await foreign.register({ audiences })),
    'an expired token': await tokenOf(late),
    'a changed token': `${header}.${encode({ ...claims, sub: 'eve' })}.${signature}`,
    'an unsigned token': `${encode({ alg: 'none', typ: 'at+jwt' })}.${payload}.`
  }
  return { grantd, issuer: url, good, rejected }
}

type Tokens = Pick<Awaited<ReturnType<typeof startIssuer>>, 'good' | 'rejected'>
/** Whether a verifier accepts a token. */
type Accepts = (token: string | undefined) => Promise<boolean>

/** Holds a verifier against the tokens: it accepts the good one, and no other. */
export async function holdsAgainst(t: Test, accepts: Accepts, { good, rejected }: Tokens): Promise<void> {
  t.equal(await accepts(good), true, 'a token for this audience')
  for (const [what, token] of Object.entries(rejected)) t.equal(await accepts(token), false, what)
  t.equal(await accepts(good), true, 'and again')
}

/** Asks a server that verifies tokens, once it listens. @throws Error when it answers neither 200 nor 401 or 403 */
export async function serverAt(url: string): Promise<Accepts> {
  const accepts: Accepts = async token => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const { status, text } = await send('GET', url, { headers })
    if (status !== 200 && status !== 401 && status !== 403) throw new Error(`the verifier answers ${status}: ${text}`)
    return status === 200
  }
  const isListening = () =>
    accepts(undefined).then(
      () => true,
      () => false
    )
  await until('the verifier listens', isListening)
  return accepts
}

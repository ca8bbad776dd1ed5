import {
  type ClientKey,
  type KeyClient,
  makeClientKey,
  registerKeyClient,
  requestWithAssertion
} from '../fixtures/app/assertion.ts'
import { COLLECTION, inDays } from '../fixtures/app/registration.ts'
import { registerWorkload } from '../fixtures/app/workload.ts'
import { type Stage, withoutHandedOut } from './canaries.ts'

/**
 * Sends assertions and workloads' tokens that are right, wrong and replayed, and private keys in place of public ones.
 * Each is a canary. The answers contain the diagnosis and the audit events of the clients.
 *
 * @returns all answers, which may hold no canary
 */
export async function driveAssertions(stage: Stage): Promise<string[]> {
  const { grantd, canaries, workloads } = stage
  const answers: string[] = []
  const send = async (assertion: string, parameters: Record<string, string> = {}): Promise<number> => {
    const answer = await requestWithAssertion(grantd, canaries.add(assertion), parameters)
    answers.push(withoutHandedOut(answer, canaries))
    return answer.status
  }
  const client = await registerKeyClient(grantd)
  const other = await registerKeyClient(grantd)
  const workload = await registerWorkload(grantd, workloads.issuer)
  const named = { client_id: workload.clientId }

  const right = await client.sign()
  expectStatus(200, await send(right))
  expectStatus(401, await send(right))
  expectStatus(200, await send(await client.sign()))
  for (const assertion of await wrongAssertions(client, other)) expectStatus(401, await send(assertion))
  expectStatus(400, await send(await client.sign(), { client_secret: 'x' }))
  expectStatus(401, await send(await client.sign(), { client_assertion_type: 'jwt' }))

  const token = await workloads.sign('system:serviceaccount:billing:exporter')
  expectStatus(200, await send(token, named))
  expectStatus(200, await send(token, named))
  expectStatus(401, await send(await workloads.sign('another'), named))
  expectStatus(401, await send(withOtherSignature(token), named))
  expectStatus(401, await send(token, { client_id: client.clientId }))

  answers.push(...(await sendPrivateKeys(stage, client)))
  for (const { path } of [client, workload]) {
    for (const read of [path, `${path}/diagnosis`]) answers.push((await grantd.asAdmin('GET', read)).text)
  }
  answers.push((await grantd.asAdmin('GET', '/v1/sites/acme/audit-events')).text)
  return answers
}

/** Assertions that fail before and after the proof of the key. */
async function wrongAssertions(client: KeyClient, other: KeyClient): Promise<string[]> {
  return [
    withOtherSignature(await client.sign()),
    await other.sign({ iss: client.clientId, sub: client.clientId }),
    await client.sign({ aud: 'https://another.example' }),
    await client.sign({ exp: 1 }),
    await client.sign({ jti: '' }),
    await client.sign({}, { typ: 'at+jwt' }),
    await client.sign({ iss: '0'.repeat(20), sub: '0'.repeat(20) }),
    await client.sign({ iss: 'nobody', sub: 'nobody' })
  ]
}

/** Replaces the first letters of the signature. */
function withOtherSignature(token: string): string {
  const [header, claims, signature = ''] = token.split('.')
  const start = signature.startsWith('AAAA') ? 'BBBB' : 'AAAA'
  return `${header}.${claims}.${start}${signature.slice(4)}`
}

/** Sends the private half of a key to create and rotate. Each private member is a canary. */
async function sendPrivateKeys({ grantd, canaries }: Stage, { path }: KeyClient): Promise<string[]> {
  const answers: string[] = []
  for (const alg of ['ES256', 'EdDSA', 'RS256'] as const) {
    const publicKey = privateJwkOf(await makeClientKey(alg))
    for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi']) {
      const value = publicKey[member]
      if (typeof value === 'string') canaries.add(value)
    }
    const created = { name: 'x', expiresAt: inDays(10), publicKey }
    for (const [target, body] of [
      [COLLECTION, created],
      [`${path}/rotate-secret`, { publicKey }]
    ] as const) {
      const { status, text } = await grantd.asAdmin('POST', target, { body })
      expectStatus(400, status)
      answers.push(text)
    }
  }
  return answers
}

function privateJwkOf({ privateKey }: ClientKey): Record<string, unknown> {
  return { ...privateKey.export({ format: 'jwk' }) }
}

function expectStatus(wanted: number, status: number): void {
  if (status !== wanted) throw new Error(`${status} in place of ${wanted}`)
}

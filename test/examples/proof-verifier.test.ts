import { createHash } from 'node:crypto'
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { calculateJwkThumbprint } from 'jose'
import t from 'tap'
import { InvalidProof, ProofVerifier } from '../../examples/devices-api/dpop.ts'
import { makeClientKey } from '../fixtures/app/assertion.ts'
import { proofClaims, signProof } from '../fixtures/app/dpop.ts'

const ORIGIN = 'http://127.0.0.1:4000'
const URL_OF_REQUEST = `${ORIGIN}/sites/acme/devices`
const TOKEN = 'a.b.c'
/** At the beginning of a second, where rounding down takes the least. */
const START = 1_795_766_400_000

const key = await makeClientKey()
const jkt = await calculateJwkThumbprint(key.credential.jwk)
const ath = createHash('sha256').update(TOKEN).digest('base64url')
const prove = (claims: Record<string, unknown>) =>
  signProof(key, proofClaims(URL_OF_REQUEST, START, { htm: 'GET', ath, ...claims }))

/** Returns whether a verifier accepts this proof with a request for this target. */
async function accepts(verifier: ProofVerifier, proof: string, target = '/sites/acme/devices'): Promise<boolean> {
  const request = new IncomingMessage(new Socket())
  Object.assign(request, { method: 'GET', url: target, headersDistinct: { dpop: [proof] } })
  try {
    await verifier.verify(request, TOKEN, jkt)
    return true
  } catch (error) {
    if (error instanceof InvalidProof) return false
    throw error
  }
}

t.test('a proof is accepted once, at whatever time it comes back (RFC 9449 §11.1)', async t => {
  for (const first of [0, 1, 500, 999]) {
    let now = START + first
    const iat = START / 1_000 + 10
    const proof = prove({ iat })
    const verifier = new ProofVerifier(ORIGIN, () => now)
    t.equal(await accepts(verifier, proof), true, 'at first')
    for (; now < START + 100_000; now += 333) {
      if (await accepts(verifier, proof)) t.fail(`accepted again ${now - START - first} ms later`)
    }
    now = START + 80_900
    t.equal(await accepts(new ProofVerifier(ORIGIN, () => now), proof), true, 'control: its age permits it for so long')
    now += 101
    t.equal(await accepts(new ProofVerifier(ORIGIN, () => now), proof), false, 'control: and no longer')
  }
})

t.test('a proof is refused for a target that makes no URL, whatever its htu is (RFC 9449 §4.3)', async t => {
  for (const target of ['*', 'http://evil.example/', 'evil.example:443', '']) {
    for (const htu of ['x', '', '*', undefined, null, 1, URL_OF_REQUEST]) {
      const verifier = new ProofVerifier(ORIGIN, () => START)
      t.equal(await accepts(verifier, prove({ htu }), target), false, `${target} with ${htu}`)
    }
  }
  t.equal(await accepts(new ProofVerifier(ORIGIN, () => START), prove({})), true, 'control')
})

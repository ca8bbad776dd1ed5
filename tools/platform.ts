import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { SignJWT } from 'jose'

const ISSUER = 'https://token.actions.githubusercontent.com'
const SUBJECT = 'repo:acme/device-sync:ref:refs/heads/main'

/** A stand-in for a platform that vouches for workloads: its key set is a file, and it signs the token of one workload. */
export class Platform {
  readonly #folder = mkdtempSync(path.join(os.tmpdir(), 'grantd-platform-'))
  readonly #keys = generateKeyPairSync('ec', { namedCurve: 'P-256' })

  /** Value of FEDERATED_ISSUERS that trusts it. */
  readonly trusted: string

  constructor() {
    const file = path.join(this.#folder, 'jwks.json')
    writeFileSync(file, JSON.stringify({ keys: [{ ...this.#keys.publicKey.export({ format: 'jwk' }), kid: 'first' }] }))
    this.trusted = `${ISSUER}=${file}`
  }

  /** Signs the token of the workload for an hour. */
  sign(audience: string): Promise<string> {
    return new SignJWT()
      .setProtectedHeader({ alg: 'ES256', kid: 'first' })
      .setIssuer(ISSUER)
      .setSubject(SUBJECT)
      .setAudience([audience])
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(this.#keys.privateKey)
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

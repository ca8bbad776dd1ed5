import { generateKeyPairSync, randomUUID, sign } from 'node:crypto'

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const header = Buffer.from(JSON.stringify({ typ: 'at+jwt', alg: 'ES256', kid: 'bench' })).toString('base64url')

/** Returns an access token of 15 minutes (RFC 9068), signed with ES256 in place. */
export function signedToken(clientId: string): string {
  const iat = Math.floor(Date.now() / 1_000)
  const claims = {
    iss: 'bench',
    sub: clientId,
    client_id: clientId,
    aud: 'bench',
    iat,
    exp: iat + 900,
    jti: randomUUID()
  }
  const input = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`
  const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}

import t from 'tap'
import { checkKeyLocation } from '../../src/issuer-keys/key-location.ts'

/** A name server of the test. */
const ADDRESSES: Record<string, readonly string[]> = {
  'public.example': ['8.8.8.8', '2606:4700::1111'],
  'keys.public.example': ['1.1.1.1'],
  'inside.example': ['10.0.0.7'],
  'both.example': ['8.8.8.8', '10.0.0.7'],
  'metadata.example': ['169.254.169.254']
}

function locate(issuer: string, jwksUri: unknown, allowsLoopback = false): Promise<string> {
  return checkKeyLocation({ issuer, jwksUri, allowsLoopback }, async host =>
    (ADDRESSES[host] ?? [host]).map(address => ({ address }))
  )
}

// [FED-10]
t.test('a public issuer cannot lead grantd to an address that is not public', async t => {
  for (const host of ['inside.example', 'both.example', 'metadata.example', '10.0.0.7', '[::1]', '[::ffff:7f00:1]']) {
    await t.rejects(locate('https://public.example', `https://${host}/keys`), /not public/, host)
  }
})

t.test(
  'the keys of an issuer may be on its own host, on a public one, and for an internal issuer anywhere',
  async t => {
    for (const [issuer, jwksUri] of [
      ['https://public.example', 'https://public.example/keys'],
      ['https://public.example', 'https://keys.public.example/keys'],
      ['https://inside.example', 'https://inside.example:6443/openid/v1/jwks'],
      ['https://inside.example', 'https://10.0.0.9:6443/openid/v1/jwks'],
      ['https://10.0.0.7', 'https://public.example/keys'],
      ['http://127.0.0.1:8080', 'http://127.0.0.1:8080/keys']
    ] as const) {
      t.equal(await locate(issuer, jwksUri, true), jwksUri)
    }
  }
)

t.test('keys by plain http or by another scheme are refused, except from this machine in development', async t => {
  const issuer = 'https://inside.example'
  for (const jwksUri of ['http://inside.example/keys', 'file:///etc/passwd', 'data:application/json,{}', 'ftp://a/b']) {
    await t.rejects(locate(issuer, jwksUri, true), /not https/, jwksUri)
  }
  await t.rejects(locate(issuer, 'http://127.0.0.1/keys', false), /not https/)
  t.equal(await locate(issuer, 'http://127.0.0.1/keys', true), 'http://127.0.0.1/keys')
})

t.test('a jwks_uri that is no absolute URL is refused', async t => {
  for (const jwksUri of [undefined, null, '', '/keys', 7, ['https://public.example/keys'], {}]) {
    await t.rejects(locate('https://public.example', jwksUri), /publishes no jwks_uri/, JSON.stringify(jwksUri))
  }
})

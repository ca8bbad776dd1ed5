import t from 'tap'
import { createClientSecret } from '../../../src/credentials/secret.ts'
import { PresentedMacs } from '../../../src/credentials/secret-mac.ts'
import { proofOfSecret } from '../../../src/oauth/client-authentication/match-credential.ts'
import { CLIENT_ID, clientRow, macFor, macKeySet, right, wrong } from '../../fixtures/app/client-row.ts'

const macKeys = { present: (clientId: string, secret: string) => new PresentedMacs(macKeySet, clientId, secret) }

const matcher = (secret: string, clientId = CLIENT_ID) => proofOfSecret(macKeys, clientId, secret).match

t.test('only the right secret matches, for its own client', async t => {
  const row = clientRow()
  t.same(matcher(right)(row), { row, credential: 'current' })
  for (const secret of [wrong, right.slice(0, -1), `${right}a`, '']) t.equal(matcher(secret)(row), undefined, secret)
  const other = clientRow({ client_id: 'b'.repeat(20) })
  t.equal(matcher(right, 'b'.repeat(20))(other), undefined, 'a MAC that was copied to the row of another client')
  t.equal(matcher(right)(clientRow({ is_registered: false })), undefined, 'a decoy never matches')
})

t.test('during a rotation each of the two secrets matches, and says which it is', async t => {
  const next = createClientSecret('grantd_')
  const row = clientRow({
    secret_mac: macFor(next).mac,
    previous_secret_mac: macFor(right).mac,
    previous_secret_mac_key_id: macFor(right).keyId
  })
  t.equal(matcher(next)(row)?.credential, 'current')
  t.equal(matcher(right)(row)?.credential, 'previous')
  t.equal(matcher(wrong)(row), undefined)
})

t.test('a MAC under a key that is not known matches nothing', async t => {
  t.equal(matcher(right)(clientRow({ secret_mac_key_id: 'another key' })), undefined)
  t.equal(matcher(right)(clientRow({ secret_mac_key_id: '' })), undefined)
})

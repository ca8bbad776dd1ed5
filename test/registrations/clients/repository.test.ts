import t from 'tap'
import { DECOY_ROW, findClients, NO_MAC_KEY } from '../../../src/registrations/clients/repository.ts'
import { createDatabase, openTestDatabase, query } from '../../fixtures/app/database.ts'
import { insertRegistrationRow } from '../../fixtures/app/registration-row.ts'

const KEY = { kind: 'key', keyId: 'k', alg: 'ES256', jwk: { crv: 'P-256', kty: 'EC', x: 'x', y: 'y' } } as const
const SUBJECT = { kind: 'federated', issuer: 'https://issuer.example', subject: 'system:serviceaccount:a:b' } as const
const UNKNOWN = 'zzzzzzzzzzzzzzzzzzzz'

t.test('a client is found with its credentials; what it has not is a secret that nothing matches', async t => {
  const url = await createDatabase(t)
  const find = async (clientId: string) => (await findClients(openTestDatabase(t, url), [clientId]))[0]
  const { clientId } = await insertRegistrationRow(url, { expiresAt: Date.now() + 1e9, armedAt: 0 })
  t.match(await find(clientId), { is_registered: true, credential: { kind: 'secret' }, secret_mac_key_id: 'none' })

  await query(
    url,
    `update registrations set credential = $1, previous_credential = $2, secret_hash = null, secret_mac = null,
       secret_mac_key_id = null, previous_secret_created_at = now(), previous_secret_expires_at = now(), audiences = '{a,b}'`,
    [KEY, SUBJECT]
  )
  const nothing = { secret_mac: DECOY_ROW.secret_mac, secret_mac_key_id: NO_MAC_KEY }
  t.match(await find(clientId), { credential: KEY, previous_credential: SUBJECT, audiences: ['a', 'b'], ...nothing })
  t.same((await find(clientId))?.previous_secret_mac_key_id, NO_MAC_KEY)
  t.match(
    await find(UNKNOWN),
    { is_registered: false, credential: { kind: 'secret' }, previous_credential: { kind: 'secret' } },
    'the decoy of an unknown id holds no key'
  )
})

t.test('every row of the look-up has the same columns, those of the decoy', async t => {
  const url = await createDatabase(t)
  const { clientId } = await insertRegistrationRow(url, { expiresAt: Date.now() + 1e9, armedAt: 0 })
  const columns = (row: object) => Object.keys(row).sort()
  for (const row of await findClients(openTestDatabase(t, url), [clientId, UNKNOWN])) {
    t.same(columns(row), columns(DECOY_ROW))
    t.ok(
      Object.values(row).every(value => value !== null),
      'and a value in each'
    )
  }
})

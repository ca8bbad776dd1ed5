import { randomBytes } from 'node:crypto'
import t from 'tap'
import { type Credential, SECRET } from '../../../../src/credentials/credential.ts'
import { RowCompactor } from '../../../../src/oauth/token/cache/compact-row.ts'
import { type ClientRow, LONG_AGO, NO_MAC_KEY } from '../../../../src/registrations/clients/repository.ts'
import { clientRow } from '../../../fixtures/app/client-row.ts'

const MAC_KEY = '6d1c0e8a-3f1b-4d67-9a53-0f3f7b1f2a11'
const PREVIOUS_MAC_KEY = '0b0c7f7e-93a4-4c1e-8a0e-52c7a1d4b6f0'

/** Members as the database sends them for a client without a previous secret, each with memory of its own. */
const padding = (): Partial<ClientRow> => ({
  previous_credential: { ...{ kind: 'secret' as const }, ...{ keyId: '-'.repeat(43), alg: 'ES256' } },
  previous_secret_mac: Buffer.alloc(32),
  previous_secret_mac_key_id: `${NO_MAC_KEY}`,
  previous_secret_expires_at: new Date(LONG_AGO),
  tokens_valid_from: new Date(LONG_AGO),
  scopes: [],
  audiences: []
})
const secret = (): Partial<ClientRow> => ({ secret_mac: randomBytes(32), secret_mac_key_id: MAC_KEY })

function keyCredential(keyId: string): Credential {
  return { kind: 'key', keyId, alg: 'ES256', jwk: { kty: 'EC', crv: 'P-256', x: keyId, y: keyId } }
}

const ROWS: Record<string, Partial<ClientRow>> = {
  'a secret': { ...padding(), ...secret() },
  'two secrets, under two MAC keys': {
    ...padding(),
    ...secret(),
    ...{ previous_secret_mac: randomBytes(32), previous_secret_mac_key_id: PREVIOUS_MAC_KEY },
    previous_secret_expires_at: new Date('2026-12-01T00:00:00.000Z')
  },
  'a federated subject, after a secret': {
    ...padding(),
    ...{ secret_mac: Buffer.alloc(32), secret_mac_key_id: NO_MAC_KEY },
    credential: { kind: 'federated', issuer: 'https://cluster.test', subject: 'system:serviceaccount:a:b' },
    ...{ previous_secret_mac: randomBytes(32), previous_secret_mac_key_id: MAC_KEY }
  },
  'a key, after another key': {
    ...padding(),
    ...{ secret_mac: Buffer.alloc(32), secret_mac_key_id: NO_MAC_KEY },
    credential: keyCredential('one'),
    previous_credential: keyCredential('other'),
    previous_secret_expires_at: new Date('2026-12-01T00:00:00.000Z')
  },
  'scopes, audiences and a cut-off': {
    ...padding(),
    ...secret(),
    ...{
      scopes: ['devices:read'],
      audiences: ['https://api.test'],
      tokens_valid_from: new Date('2026-11-27T08:00:00.000Z')
    }
  }
}

for (const [what, members] of Object.entries(ROWS)) {
  t.test(`a compact row says what the row said: ${what}`, async t => {
    const row = clientRow(members)
    const compact = new RowCompactor().compact(row)
    // The padding of a secret goes.
    const withoutPadding = (credential: Credential) => (credential.kind === 'secret' ? SECRET : credential)
    const credential = withoutPadding(row.credential)
    t.strictSame(compact, { ...row, credential, previous_credential: withoutPadding(row.previous_credential) })
  })
}

t.test('compact rows share what pads them, and keep no memory of the answer of the database', async t => {
  const compactor = new RowCompactor()
  const rows = [clientRow({ ...padding(), ...secret() }), clientRow({ ...padding(), ...secret() })]
  const [one, other] = rows.map(row => compactor.compact(row))
  if (one === undefined || other === undefined) throw new Error('there are two rows')
  const padded = ['credential', 'previous_credential', 'previous_secret_mac', 'previous_secret_expires_at'] as const
  for (const column of [...padded, 'tokens_valid_from', 'scopes', 'audiences'] as const)
    t.equal(one[column], other[column])
  const rotated = clientRow({ ...secret(), previous_secret_mac: randomBytes(32), previous_secret_mac_key_id: MAC_KEY })
  const compact = compactor.compact(rotated)
  t.not(compact.secret_mac.buffer, rotated.secret_mac.buffer)
  t.not(compact.previous_secret_mac.buffer, rotated.previous_secret_mac.buffer)
  t.equal(compactor.compact(rotated, compact).secret_mac, compact.secret_mac, 'a row that is read again adds nothing')
  t.not(compactor.compact(clientRow(secret()), compact).secret_mac, compact.secret_mac)
})

t.test('each of a thousand rows keeps its own MAC', async t => {
  const compactor = new RowCompactor()
  const rows = Array.from({ length: 1_000 }, () => clientRow({ ...padding(), ...secret() }))
  const compact = rows.map(row => compactor.compact(row))
  t.ok(rows.every((row, index) => compact[index]?.secret_mac.equals(row.secret_mac)))
})

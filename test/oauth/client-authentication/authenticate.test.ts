import t from 'tap'
import {
  type Refuse,
  refuseMalformed,
  requireInForce,
  requireProved
} from '../../../src/oauth/client-authentication/authenticate.ts'
import type { MatchedClient } from '../../../src/oauth/client-authentication/credential-proof.ts'
import { invalidClient } from '../../../src/oauth/oauth-error.ts'
import type { ClientRow } from '../../../src/registrations/clients/repository.ts'
import { CLIENT_ID, clientRow, right, wrong } from '../../fixtures/app/client-row.ts'
import { caught } from '../../fixtures/run/caught.ts'

const NOW = 1_000_000
const GENERIC = 'Client authentication failed.'

/** Counts the failures. */
function startRefusing() {
  const counted: string[] = []
  const refuse: Refuse = reason => {
    counted.push(reason)
    return invalidClient(reason)
  }
  return { counted, refuse }
}

t.test('why a client is refused is only for the log, except for the right credential', async t => {
  const previous = (expiresAt: Date) => clientRow({ previous_secret_expires_at: expiresAt })
  const matches = (row: ClientRow, credential: 'current' | 'previous' = 'current') => ({ row, credential })
  const { counted, refuse } = startRefusing()
  const authenticate = (row: ClientRow, matched: MatchedClient | undefined) => {
    const proved = requireProved({ kind: 'secret' }, row, matched, NOW, refuse)
    requireInForce(row, NOW)
    return proved
  }
  for (const [reason, message, row, matched] of [
    ['unknown_client', GENERIC, clientRow({ is_registered: false }), undefined],
    ['wrong_secret', GENERIC, clientRow(), undefined],
    ['wrong_secret', GENERIC, clientRow({ enabled: false }), undefined],
    ['wrong_secret', GENERIC, clientRow({ expires_at: new Date(0) }), undefined],
    ['retired_secret', GENERIC, previous(new Date(NOW)), matches(previous(new Date(NOW)), 'previous')],
    ['retired_secret', GENERIC, previous(new Date(0)), matches(previous(new Date(0)), 'previous')],
    [
      'disabled',
      'The registration is disabled.',
      clientRow({ enabled: false }),
      matches(clientRow({ enabled: false }))
    ],
    ['expired', 'The registration has expired.', clientRow({ expires_at: new Date(NOW) }), matches(clientRow())]
  ] as const) {
    t.match(
      caught(() => authenticate(row, matched)),
      { status: 401, code: 'invalid_client', reason, message }
    )
  }
  t.same(counted, [
    'unknown_client',
    'wrong_secret',
    'wrong_secret',
    'wrong_secret',
    'retired_secret',
    'retired_secret'
  ])
  const overlapping = matches(previous(new Date(NOW + 1)), 'previous')
  t.equal(authenticate(overlapping.row, overlapping), overlapping)
  const current = matches(previous(new Date(0)))
  t.equal(authenticate(current.row, current), current)
})

t.test('a text that cannot be a secret or an id is refused without a look-up, and counts as a failure', async t => {
  const { counted, refuse } = startRefusing()
  const refusal = (clientId: string, secret: string): unknown =>
    caught(() => refuseMalformed({ clientId, credential: { kind: 'secret', secret } }, refuse))
  for (const secret of ['', 'x', right.slice(0, -1), `${right}a`, right.toUpperCase()]) {
    t.match(refusal(CLIENT_ID, secret), { status: 401, reason: 'malformed_secret' }, secret)
  }
  for (const id of ['', 'x', `${CLIENT_ID}a`, CLIENT_ID.toUpperCase(), 'x'.repeat(12_000), right]) {
    t.match(refusal(id, wrong), { status: 401, reason: 'malformed_client_id' }, id)
  }
  t.equal(counted.length, 11)
  t.equal(refusal(CLIENT_ID, right), undefined)
  t.equal(refusal('0'.repeat(20), wrong), undefined)
})

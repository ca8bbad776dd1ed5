import { randomBytes } from 'node:crypto'
import t from 'tap'
import { ClientCache } from '../../../../src/oauth/token/cache/client-cache.ts'
import { DECOY_ROW } from '../../../../src/registrations/clients/repository.ts'
import { CLIENT_ID, clientRow } from '../../../fixtures/app/client-row.ts'

t.test('a client is cached when it exchanges, not when it is looked up', async t => {
  const cache = new ClientCache()
  const row = clientRow()
  cache.refresh(row)
  t.equal(cache.find(CLIENT_ID), DECOY_ROW)
  cache.keep(row, 1_000)
  t.strictSame(cache.find(CLIENT_ID), row)
  t.equal(cache.size, 1)
})

t.test('a row that was read later replaces the cached one, and a deleted client is forgotten', async t => {
  const cache = new ClientCache()
  cache.keep(clientRow(), 1_000)
  const disabled = clientRow({ enabled: false, version: 2 })
  cache.refresh(disabled)
  t.strictSame(cache.find(CLIENT_ID), disabled)
  t.strictSame(cache.findRecent(CLIENT_ID, 999), disabled, 'as it was read last, exchanged when it was')
  cache.refresh(clientRow({ is_registered: false }))
  t.equal(cache.find(CLIENT_ID), DECOY_ROW)
})

t.test('an enabled client whose cut-off has not come is not cached, so that each exchange waits for it', async t => {
  const cache = new ClientCache()
  cache.keep(clientRow(), 1_000)
  const early = clientRow({ version: 2, tokens_valid_in_ms: 1 })
  cache.refresh(early)
  t.equal(cache.find(CLIENT_ID), DECOY_ROW)
  // As an introspection does, which need not wait.
  cache.keep(early)
  t.equal(cache.find(CLIENT_ID), DECOY_ROW)
})

t.test('what is cached keeps no buffer of the answer of the database', async t => {
  const cache = new ClientCache()
  const [kept, refreshed] = [clientRow(), clientRow({ version: 2, secret_mac: randomBytes(32) })]
  cache.keep(kept, 1_000)
  t.not(cache.find(CLIENT_ID).secret_mac.buffer, kept.secret_mac.buffer)
  cache.refresh(refreshed)
  t.strictSame(cache.find(CLIENT_ID), refreshed)
  t.not(cache.find(CLIENT_ID).secret_mac.buffer, refreshed.secret_mac.buffer)
})

t.test('a row that is not trusted is found only while the database is away, until it is read again', async t => {
  const cache = new ClientCache()
  cache.keep(clientRow({ version: 2 }), 1_000)
  cache.distrust()
  t.equal(cache.find(CLIENT_ID), DECOY_ROW)
  t.strictSame(cache.findRecent(CLIENT_ID, 999), clientRow({ version: 2 }))
  const restored = clientRow({ scopes: ['restored'] })
  cache.refresh(restored)
  t.strictSame(cache.find(CLIENT_ID), restored, 'also with a lower version')
  cache.distrust()
  cache.keep(clientRow({ version: 0 }), 2_000)
  t.equal(cache.find(CLIENT_ID).version, 0)
})

t.test('a row that the database no longer has is forgotten, and a newer one is not', async t => {
  const cache = new ClientCache()
  cache.keep(clientRow(), 1_000)
  const old = cache.find(CLIENT_ID)
  cache.refresh(clientRow({ version: 2 }))
  cache.forget(old)
  t.equal(cache.find(CLIENT_ID).version, 2)
  cache.forget(cache.find(CLIENT_ID))
  t.equal(cache.findRecent(CLIENT_ID, 0), DECOY_ROW)
})

t.test('an older row never replaces a newer one', async t => {
  const cache = new ClientCache()
  const newer = clientRow({ enabled: false, version: 2 })
  cache.keep(newer, 1_000)
  cache.keep(clientRow(), 2_000)
  t.strictSame(cache.find(CLIENT_ID), newer)
  t.equal(cache.findRecent(CLIENT_ID, 1_000), DECOY_ROW, 'nor does an exchange with the older one count')
  cache.refresh(clientRow())
  t.strictSame(cache.find(CLIENT_ID), newer)
})

t.test('an exchange counts only with the row that is cached', async t => {
  const cache = new ClientCache()
  cache.keep(clientRow(), 1_000)
  const row = cache.find(CLIENT_ID)
  cache.touch(row, 5_000)
  t.equal(cache.findRecent(CLIENT_ID, 4_000), row)
  t.equal(cache.findRecent(CLIENT_ID, 5_000), DECOY_ROW)
  cache.refresh(clientRow({ version: 2 }))
  cache.touch(row, 9_000)
  t.equal(cache.findRecent(CLIENT_ID, 6_000), DECOY_ROW)
})

t.test('a change by this process is known at once, also to a look-up that was under way', async t => {
  const cache = new ClientCache()
  cache.keep(clientRow(), 1_000)
  cache.noteChange(CLIENT_ID, 2)
  t.equal(cache.find(CLIENT_ID), DECOY_ROW)
  cache.keep(clientRow(), 2_000)
  t.equal(cache.find(CLIENT_ID), DECOY_ROW, 'read before the change, answered after it')
  cache.noteChange(CLIENT_ID, 1)
  cache.keep(clientRow(), 2_000)
  t.equal(cache.find(CLIENT_ID), DECOY_ROW, 'an older change does not undo a newer one')
  const changed = clientRow({ version: 2 })
  cache.keep(changed, 3_000)
  t.strictSame(cache.find(CLIENT_ID), changed)
  cache.noteChange(CLIENT_ID, 2)
  t.strictSame(cache.find(CLIENT_ID), changed, 'the row has the change already')
  cache.noteChange(CLIENT_ID, Number.POSITIVE_INFINITY)
  cache.keep(clientRow({ version: 99 }), 4_000)
  t.equal(cache.find(CLIENT_ID), DECOY_ROW, 'a deleted client does not come back')
})

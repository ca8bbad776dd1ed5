import fc from 'fast-check'
import t from 'tap'
import { BEGINNING, chainEvent, findBreak, findBreakAtEnd, hashEvent, type Link } from '../../src/audit/chain.ts'
import type { AuditChainTable, AuditEventTable } from '../../src/database/schema.ts'

const event = {
  site_id: 'acme',
  occurred_at: new Date('2026-11-23T09:00:00.000Z'),
  action: 'registration.changed',
  subject: 'k3v9x2m7q1w8z5t4r6y0',
  actor: 'ada',
  actor_issuer: 'https://identity.example.com',
  request_id: 'req-1',
  source: '192.0.2.1',
  changes: { name: { from: 'a', to: 'b' }, enabled: { from: true, to: false } }
}

function chainOf(length: number, pruned: Link = BEGINNING): { events: AuditEventTable[]; chain: AuditChainTable } {
  const events: AuditEventTable[] = []
  let newest = pruned
  for (let index = 0; index < length; index++) {
    const chained = chainEvent(newest, { ...event, request_id: `req-${index}` })
    events.push(chained)
    newest = chained
  }
  const { sequence, hash } = newest
  return {
    events,
    chain: { site_id: 'acme', sequence, hash, pruned_sequence: pruned.sequence, pruned_hash: pruned.hash }
  }
}

/** The first thing that is wrong, as verifying sees it. */
function verify(events: AuditEventTable[], chain: AuditChainTable) {
  const anchor = { sequence: chain.pruned_sequence, hash: chain.pruned_hash }
  return findBreak(anchor, events, chain) ?? findBreakAtEnd(events.at(-1) ?? anchor, chain)
}

// [AUDIT-3]
t.test('the hash is the one that src/audit/chain.ts describes, so that other programs can compute it', async t => {
  const first = chainEvent(BEGINNING, event)
  t.equal(first.sequence, 1)
  t.equal(first.hash.toString('hex'), '02a048a31f5400e8c45d055f67d0dc6e5ad6c33b4af030b25db3733c325f122b')
})

t.test('the hash does not depend on the order of the members of changes', async t => {
  const chained = chainEvent(BEGINNING, event)
  const { name, enabled } = event.changes
  t.same(hashEvent({ ...chained, changes: { enabled: { to: enabled.to, from: enabled.from }, name } }), chained.hash)
})

t.test('a different value in any member makes a different hash', async t => {
  const chained = chainEvent(BEGINNING, event)
  for (const change of [
    { site_id: 'umbrella' },
    { sequence: 2 },
    { occurred_at: new Date('2026-11-23T09:00:00.001Z') },
    { action: 'registration.renewed' },
    { subject: 'x' },
    { actor: 'eve' },
    { actor_issuer: 'https://other.example.com' },
    { request_id: 'req-2' },
    { source: '192.0.2.2' },
    { changes: { name: { from: 'a', to: 'c' } } },
    { changes: {} },
    { previous_hash: Buffer.alloc(32, 1) },
    // What one member loses, its neighbour gains.
    { actor: 'adah', actor_issuer: 'ttps://identity.example.com' }
  ]) {
    t.notSame(hashEvent({ ...chained, ...change }), chained.hash, JSON.stringify(change))
  }
})

t.test('an unchanged chain has no fault, from its beginning and from the first event after pruning', async t => {
  for (const length of [0, 1, 2, 10]) {
    const { events, chain } = chainOf(length)
    t.equal(verify(events, chain), undefined)
  }
  const { events, chain } = chainOf(10)
  const anchor = events[3]
  if (anchor === undefined) throw new Error('no event')
  t.equal(verify(events.slice(4), { ...chain, pruned_sequence: anchor.sequence, pruned_hash: anchor.hash }), undefined)
})

t.test('the first event that was changed, removed, added or moved is named', async t => {
  const length = 8
  fc.assert(
    fc.property(fc.integer({ min: 1, max: length }), sequence => {
      const { events, chain } = chainOf(length)
      const index = sequence - 1
      const at = events[index]
      if (at === undefined) throw new Error('no event')
      const changed = { ...at, actor: 'eve' }
      const rehashed = { ...changed, hash: hashEvent(changed) }
      t.same(verify(events.with(index, changed), chain), { sequence, fault: 'changed' })
      t.same(verify(events.with(index, rehashed), chain), { sequence, fault: 'changed' }, 'with its hash made anew')
      t.same(verify(events.toSpliced(index, 1), chain), { sequence, fault: 'missing' })
      t.same(verify(events.slice(0, index), chain), { sequence, fault: 'missing' }, 'and all behind it')
      t.same(verify(events.slice(index + 1), chain)?.sequence, 1, 'and all before it')
      const swapped = events.with(index, { ...(events[(index + 1) % length] ?? at), sequence })
      t.same(verify(swapped, chain), { sequence, fault: 'changed' }, "another event in this one's place")
    }),
    { numRuns: 40 }
  )
  const { events, chain } = chainOf(3)
  const last = events.at(-1)
  if (last === undefined) throw new Error('no event')
  t.same(verify([...events, chainEvent(last, event)], chain), { sequence: 4, fault: 'added' })
  t.same(verify(events, { ...chain, pruned_sequence: 1, pruned_hash: events[0]?.hash ?? last.hash }), {
    sequence: 1,
    fault: 'added'
  })
})

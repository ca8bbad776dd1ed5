import t from 'tap'
import { Places, type Try } from '../../../src/notifications/outbox/places.ts'
import { until } from '../../fixtures/run/until.ts'

/** A delivery to a receiver of this Site, or of the configuration. */
function delivery(queue: string, site: string | undefined, attempts = 1) {
  return { queue, site_id: site ?? 'acme', receiver_id: site === undefined ? null : queue, attempts }
}

const takeAll = (places: Places, count: number, site: string | undefined): Try[] =>
  Array.from({ length: count }, (_, index) => places.take(delivery(`${site} ${index}`, site)))

t.test('a try holds its place for a second, and its receiver then counts as slow until it answers in time', async t => {
  let freed = 0
  const places = new Places(() => freed++)
  const tries = takeAll(places, 64, 'acme')
  t.equal(places.limits(), undefined, 'no place is free')
  await until('all have moved aside', () => freed === 64)
  t.match(places.limits(), { limit: 64, slowLimit: 32, underWay: new Map() })
  t.equal(places.limits()?.exceptQueues.length, 64, 'no second try to a receiver that hangs')
  for (const each of tries) places.leave(each)
  t.equal(places.limits()?.slowQueues.length, 64)
  const again = places.take(delivery('acme 0', 'acme'))
  t.match(places.limits(), { limit: 63, slowLimit: 31, underWay: new Map([['acme', 1]]) })
  places.leave(again)
  t.notOk(places.limits()?.slowQueues.includes('acme 0'))
})

t.test('retries count as slow, and receivers of the configuration count for no Site', async t => {
  const places = new Places(() => {})
  const tries = [places.take(delivery('a', 'acme', 2)), places.take(delivery('webhook', undefined))]
  t.match(places.limits(), { limit: 62, slowLimit: 31, underWay: new Map([['acme', 1]]) })
  for (const each of tries) places.leave(each)
})

t.test('when more than 256 tries are slow, the oldest of the Site with the most is cut off', async t => {
  const places = new Places(() => {})
  const tries = [...takeAll(places, 57, 'umbrella'), ...takeAll(places, 200, 'acme')]
  await until('all are slow', () => tries.every(({ isSlow }) => isSlow))
  const cut = tries.filter(({ cut }) => cut.signal.aborted)
  t.match(cut, [{ queue: 'acme 0', cut: { signal: { reason: { name: 'TimeoutError' } } } }])
  t.equal(cut.length, 1)
  for (const each of tries) places.leave(each)
})

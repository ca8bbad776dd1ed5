import t from 'tap'
import { AddressGuard } from '../../../src/notifications/channels/address-guard.ts'
import { createResolve } from '../../../src/notifications/channels/resolve.ts'
import { startNameServer } from '../../fixtures/peers/name-server.ts'

const NAMES = new Map([
  ['hooks.example.test', '192.0.2.7'],
  ['empty.example.test', '192.0.2.8'],
  ['silent.example.test', undefined]
])

const guard = (...items: string[]) => new AddressGuard({ items, allowsPlainHttp: true })

t.test('a host name is resolved by DNS, and an unknown one is an error', async t => {
  const resolve = createResolve(guard(), [await startNameServer(t, NAMES)])
  t.same(await resolve('hooks.example.test'), [{ address: '192.0.2.7', family: 4 }])
  await t.rejects(resolve('nowhere.example.test'), { code: 'ENOTFOUND' })
})

t.test('only a host name that is allow-listed is resolved by the system', async t => {
  const servers = [await startNameServer(t, NAMES)]
  const listed = await createResolve(guard('localhost'), servers)('localhost')
  t.ok(listed.some(({ address }) => address === '127.0.0.1' || address === '::1'))
  const resolve = createResolve(guard('127.0.0.1', 'other.internal'), servers)
  t.ok(
    (await resolve('localhost').catch(() => [])).every(({ address }) => address.startsWith('127.') || address === '::1')
  )
})

t.test('host names whose servers do not answer delay no other', async t => {
  const resolve = createResolve(guard(), [await startNameServer(t, NAMES)])
  const silent = Array.from({ length: 50 }, () => resolve('silent.example.test'))
  const answers = await Promise.race([
    Promise.all(Array.from({ length: 20 }, () => resolve('hooks.example.test'))),
    Promise.any(silent)
  ])
  t.equal(answers.length, 20, 'all of the others before the first of the silent ones')
  for (const { status } of await Promise.allSettled(silent)) t.equal(status, 'rejected')
})

import fc from 'fast-check'
import t from 'tap'
import { administersAnything, mayAdminister, readAdministeredSites } from '../../src/admin-api/access.ts'

t.test('a list of Sites gives rights on these Sites and no other', async t => {
  const sites = readAdministeredSites(['acme', 'globex'])
  t.ok(administersAnything(sites))
  t.ok(mayAdminister(sites, 'acme'))
  t.ok(mayAdminister(sites, 'globex'))
  for (const other of ['initech', 'ACME', 'acm', 'acme1', '', '*', 'acme,globex', '__proto__', 'constructor']) {
    t.notOk(mayAdminister(sites, other), other)
  }
})

t.test('a string names one Site, or several that are separated by single spaces', async t => {
  const sites = readAdministeredSites('acme')
  t.ok(mayAdminister(sites, 'acme'))
  t.notOk(mayAdminister(sites, 'a'))
  t.same(readAdministeredSites('acme globex initech'), new Set(['acme', 'globex', 'initech']))
  t.equal(readAdministeredSites('acme *'), 'all')
  for (const other of ['acme,globex', 'acme\tglobex', ' acme', 'acme ', 'acme  globex', 'acme\nglobex']) {
    const others = readAdministeredSites(other)
    for (const site of ['acme', 'globex', '']) t.notOk(mayAdminister(others, site), JSON.stringify(other))
  }
  t.notOk(mayAdminister(readAdministeredSites(['acme globex']), 'acme'), 'an item of a list is taken whole')
})

t.test('* makes a Global Administrator, alone or in a list', async t => {
  for (const claim of ['*', ['*'], ['acme', '*'], ['*', 7]]) {
    const sites = readAdministeredSites(claim)
    t.equal(sites, 'all')
    t.ok(administersAnything(sites))
    t.ok(mayAdminister(sites, 'acme'))
  }
})

t.test('a text that only resembles * makes no Global Administrator', async t => {
  for (const claim of ['**', ' *', '* ', 'acme*', '*.acme', ['a', '**'], [['*']], { 0: '*' }, 'all', ['all']]) {
    const sites = readAdministeredSites(claim)
    t.not(sites, 'all')
    t.notOk(mayAdminister(sites, 'acme'))
  }
})

// [ADMIN-19]
t.test('a missing, empty or wrongly typed claim gives no rights at all', async t => {
  for (const claim of [undefined, null, '', [], [''], 0, 1, true, {}, { acme: true }, [1, null, {}, []], [['acme']]]) {
    const sites = readAdministeredSites(claim)
    t.notOk(administersAnything(sites), JSON.stringify(claim))
    t.notOk(mayAdminister(sites, 'acme'), JSON.stringify(claim))
    t.notOk(mayAdminister(sites, ''), JSON.stringify(claim))
  }
})

t.test('a list with some wrong items gives the rights of the others', async t => {
  const sites = readAdministeredSites([1, 'acme', null, ['globex']])
  t.ok(mayAdminister(sites, 'acme'))
  t.notOk(mayAdminister(sites, 'globex'))
  t.notOk(mayAdminister(sites, '1'))
})

t.test('a claim of any shape is read without an error and gives rights on the Sites that it names only', async () => {
  const named = fc.constantFrom<unknown>('acme', 'globex', '*', '', 'ACME', 7, null)
  const claim = fc.oneof(fc.jsonValue(), named, fc.array(fc.oneof(named, fc.jsonValue())))
  fc.assert(
    fc.property(claim, fc.constantFrom('acme', 'globex', '', '*'), (value, siteId) => {
      const items: unknown[] = Array.isArray(value) ? value : [value]
      const isNamed = siteId !== '' && items.includes(siteId)
      return mayAdminister(readAdministeredSites(value), siteId) === (isNamed || items.includes('*'))
    }),
    { numRuns: 2_000 }
  )
})

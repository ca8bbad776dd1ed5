import fc from 'fast-check'
import t from 'tap'
import { OAuthError } from '../../../src/oauth/oauth-error.ts'
import { decideScope, requireScope } from '../../../src/oauth/token/scope.ts'
import { caught } from '../../fixtures/run/caught.ts'

const grantScope = (requested: string | undefined, allowed: readonly string[]): string | undefined =>
  requireScope(decideScope(requested, allowed))

t.test(
  'a request without scope is granted all scopes, one with allowed scopes those, and any other is invalid_scope',
  async t => {
    t.equal(grantScope(undefined, ['a', 'b']), 'a b')
    t.equal(grantScope(undefined, []), undefined)
    t.equal(grantScope('b', ['a', 'b']), 'b')
    t.equal(grantScope('b a b', ['a', 'b']), 'b a', 'each once')
    for (const [requested, allowed] of [
      ['c', ['a', 'b']],
      ['a c', ['a', 'b']],
      ['A', ['a']],
      ['a', []],
      [' a', ['a']],
      ['a ', ['a']],
      ['a  b', ['a', 'b']],
      ['a\tb', ['a', 'b']],
      ['a"', ['a"']],
      ['é', ['é']]
    ] as const) {
      t.match(
        caught(() => grantScope(requested, allowed)),
        { status: 400, code: 'invalid_scope' },
        requested
      )
    }
  }
)

// [TOKEN-15]
t.test('no more is granted than the registration allows', async () => {
  const scope = fc.constantFrom<string>('a', 'b', 'c', 'd', 'e')
  const asking = fc.constantFrom<string>('a', 'b', 'c', 'd', 'e', '')
  fc.assert(
    fc.property(fc.uniqueArray(scope), fc.array(asking, { minLength: 1 }), (allowed, asked) => {
      try {
        const granted = grantScope(asked.join(' '), allowed)?.split(' ') ?? []
        return granted.every(scope => allowed.includes(scope) && asked.includes(scope)) && granted.length > 0
      } catch (error) {
        return error instanceof OAuthError && asked.some(scope => !allowed.includes(scope))
      }
    })
  )
})

t.test('the log distinguishes a malformed scope from one that is not allowed, and the answer does not', async t => {
  const malformed = ['', ' ', ' a', 'a ', 'a  b', 'a\nb', '"a', 'a"', 'é', 'a\u007f', 'ab é', '\\ a']
  for (const [reason, requested] of [
    ...malformed.map(text => ['malformed_scope', text] as const),
    ...['b', 'ab', 'a b', 'abc def', '!', '#[]~', 'A'].map(text => ['scope_not_allowed', text] as const)
  ]) {
    const error = caught(() => grantScope(requested, ['a']))
    t.match(error, { status: 400, code: 'invalid_scope', reason, message: /malformed or not allowed/ }, requested)
  }
})

/** A scope token by the grammar of RFC 6749 §3.3. */
const token = fc.stringMatching(/^[!#-[\]-~]{1,3}$/)

// [TOKEN-10]
t.test('repeating or reordering scopes, or allowing more of them, does not change what is granted', async () => {
  const lists = fc.uniqueArray(token, { minLength: 1, maxLength: 6 })
  fc.assert(
    fc.property(lists, lists, fc.nat(), (allowed, others, seed) => {
      const asked = allowed.filter((_, at) => ((seed >> at) & 1) === 1)
      if (asked.length === 0) return true
      const granted = grantScope(asked.join(' '), allowed)
      const isSameSet = (scope: string | undefined) =>
        scope?.split(' ').toSorted().join(' ') === asked.toSorted().join(' ')
      return (
        isSameSet(granted) &&
        grantScope(granted, allowed) === granted &&
        isSameSet(grantScope(asked.toReversed().join(' '), allowed)) &&
        isSameSet(grantScope([...asked, ...asked].join(' '), allowed)) &&
        grantScope(granted, [...new Set([...allowed, ...others])]) === granted &&
        grantScope(undefined, allowed) === grantScope(allowed.join(' '), allowed)
      )
    })
  )
})

t.test('no text causes another error than invalid_scope, or is granted without being allowed', async () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.uniqueArray(token), (requested, allowed) => {
      try {
        const granted = grantScope(requested, allowed)?.split(' ') ?? []
        return granted.length > 0 && granted.every(scope => allowed.includes(scope))
      } catch (error) {
        return error instanceof OAuthError && error.code === 'invalid_scope'
      }
    }),
    { numRuns: 1_000 }
  )
})

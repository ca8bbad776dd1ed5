import fc from 'fast-check'
import t from 'tap'
import { OAuthError } from '../../src/tokens/oauth-error.ts'
import { grantScope } from '../../src/tokens/scope.ts'
import { caught } from '../fixtures/caught.ts'

t.test('asking for none grants all; asking for some grants those; asking for others is invalid_scope', async t => {
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
})

t.test('never more is granted than is allowed', async () => {
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

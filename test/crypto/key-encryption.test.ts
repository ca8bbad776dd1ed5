import { randomBytes } from 'node:crypto'
import t from 'tap'
import { Sealing } from '../../src/crypto/key-encryption.ts'

const [one, other] = [randomBytes(32), randomBytes(32)]

// [SECRET-4]
t.test('what is sealed opens with the same key, for the same purpose and binding alone', async t => {
  const sealing = new Sealing(one)
  const sealed = await sealing.seal('secrets', 'row 1', 'text \u{1f511}')
  t.same(await sealing.open('secrets', 'row 1', sealed), { text: 'text \u{1f511}', isCurrent: true })
  t.notOk(sealed.includes(Buffer.from('text').toString('base64url')))
  t.not(await sealing.seal('secrets', 'row 1', 'text \u{1f511}'), sealed, 'the same text never looks the same')
  t.equal(await sealing.open('secrets', 'row 2', sealed), undefined)
  t.equal(await sealing.open('other secrets', 'row 1', sealed), undefined)
  t.equal(await new Sealing(other).open('secrets', 'row 1', sealed), undefined)
  const bytes = sealed.split('')
  // The last one's lower bits stand for nothing: 'w' is A with the upper ones set.
  for (const index of [bytes.indexOf('.') + 5, sealed.length - 1]) {
    const edited = bytes.with(index, bytes[index] === 'A' ? 'w' : 'A').join('')
    t.equal(await sealing.open('secrets', 'row 1', edited), undefined)
  }
  for (const junk of ['', '.', '....', 'sealed']) t.equal(await sealing.open('secrets', 'row 1', junk), undefined)
})

t.test('the previous key opens, and the current one seals', async t => {
  const before = await new Sealing(one).seal('secrets', 'row 1', 'text')
  const during = new Sealing(other, one)
  t.same(await during.open('secrets', 'row 1', before), { text: 'text', isCurrent: false })
  const anew = await during.seal('secrets', 'row 1', 'text')
  t.same(await new Sealing(other).open('secrets', 'row 1', anew), { text: 'text', isCurrent: true })
  t.equal(await new Sealing(one).open('secrets', 'row 1', anew), undefined)
})

t.test('each purpose has keys of its own, those of the current key first', async t => {
  const [current, previous, ...rest] = new Sealing(other, one).keys('cursors')
  t.same(rest, [])
  t.same([current, previous], [new Sealing(other).keys('cursors')[0], new Sealing(one).keys('cursors')[0]])
  t.equal(current.length, 32)
  t.notSame(current, new Sealing(other).keys('other cursors')[0])
})

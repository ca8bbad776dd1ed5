import fc from 'fast-check'
import t from 'tap'
import {
  createClientSecret,
  hashClientSecret,
  isWellFormedSecret,
  verifyClientSecret
} from '../../src/credentials/secret.ts'
import { createClientId } from '../../src/registrations/client-id.ts'

// [SECRET-5]
t.test('a secret is the prefix, 256 random bits in base62 and a checksum', async t => {
  const secrets = Array.from({ length: 1_000 }, () => createClientSecret('grantd_'))
  for (const secret of secrets) t.match(secret, /^grantd_[0-9A-Za-z]{49}$/)
  t.equal(new Set(secrets).size, secrets.length, 'each is another')
  t.equal(new Set(secrets.map(secret => secret[7])).size > 10, true, 'the first digit varies')
})

t.test('a secret of any configured prefix is well-formed', async t => {
  for (const prefix of ['grantd_', 'acme_live_', 'abcdef', `a${'9'.repeat(31)}`]) {
    t.ok(isWellFormedSecret(createClientSecret(prefix)), prefix)
  }
})

t.test('every 1-character edit, shortening and lengthening of a secret is malformed', async t => {
  const secret = createClientSecret('grantd_')
  const edits = [...secret].flatMap((_, index) =>
    ['0', 'Z', 'a', '_', ' ', 'é']
      .map(character => secret.slice(0, index) + character + secret.slice(index + 1))
      .filter(edit => edit !== secret)
  )
  const shorter = [...secret].map((_, index) => secret.slice(0, index))
  const longer = ['x', ' ', '\n', '0'].flatMap(character => [secret + character, character + secret])
  for (const junk of [...edits, ...shorter, ...longer]) t.notOk(isWellFormedSecret(junk), junk)
})

t.test('no text causes an error in the check of the form', async () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), text => !isWellFormedSecret(text)))
})

t.test('at rest a secret is Argon2id at 19,456 KiB, two passes, one lane, with its own salt', async t => {
  const secret = createClientSecret('grantd_')
  const [first, second] = await Promise.all([hashClientSecret(secret), hashClientSecret(secret)])
  t.match(first, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
  t.not(first, second)
  t.ok(await verifyClientSecret(secret, first))
  t.notOk(await verifyClientSecret(createClientSecret('grantd_'), first))
})

t.test('client ids are 20 characters of a-z and 0-9, and all different', async t => {
  const ids = Array.from({ length: 1_000 }, createClientId)
  for (const id of ids) t.match(id, /^[a-z0-9]{20}$/)
  t.equal(new Set(ids).size, ids.length)
})

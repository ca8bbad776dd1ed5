import { readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { createClientSecret, isWellFormedSecret } from '../../src/credentials/secret.ts'
import { ROOT } from '../fixtures/run/paths.ts'

const page = readFileSync(path.join(ROOT, 'docs/security/scanning.md'), 'utf8')
/** The two regular expressions of the page, as they stand there. */
const [, plain = ''] = /```regex\n(.*)\n```/.exec(page) ?? []
const [, gitleaks = ''] = /^regex = '''(.*)'''$/m.exec(page) ?? []
const [, keyword = ''] = /^keywords = \["(.*)"\]$/m.exec(page) ?? []
const [, entropy = ''] = /^entropy = ([\d.]+)$/m.exec(page) ?? []

const PREFIXES = ['grantd_', 'acme_live_', 'abcdef', `a${'9'.repeat(31)}`, 'A_1___']
const SURROUNDINGS = [
  (secret: string) => secret,
  (secret: string) => `CLIENT_SECRET=${secret}\n`,
  (secret: string) => `{"client_secret":"${secret}"}`,
  (secret: string) => `curl -u id:${secret} https://grantd.example.com/oauth/token`,
  (secret: string) => `client_id=x&client_secret=${secret}&scope=a`
]

t.test('the regular expression of the page finds secrets with any prefix that the configuration allows', async t => {
  for (const prefix of PREFIXES) {
    const expression = new RegExp(plain.replace('grantd_', prefix), 'g')
    for (const surround of SURROUNDINGS) {
      for (let made = 0; made < 200; made++) {
        const secret = createClientSecret(prefix)
        t.same(surround(secret).match(expression), [secret])
      }
    }
  }
})

t.test('it finds nothing that is longer, shorter or of another prefix', async t => {
  const secret = createClientSecret('grantd_')
  for (const text of [
    `${secret}x`,
    secret.slice(0, -1),
    `x${secret}`,
    secret.replace('grantd_', 'grant_'),
    'grantd_'
  ]) {
    t.notMatch(text, new RegExp(plain), text)
  }
})

t.test('the rule for gitleaks finds secrets and claim tickets, and its keyword and entropy let them pass', async t => {
  // RE2 has no look-around and no back-references.
  t.notMatch(gitleaks, /\(\?[=!<]|\\[1-9]/)
  for (const prefix of ['grantd_', 'grantd_claim_']) {
    for (const surround of SURROUNDINGS) {
      for (let made = 0; made < 200; made++) {
        const secret = createClientSecret(prefix)
        const [found = ''] = surround(secret).match(new RegExp(gitleaks)) ?? []
        t.equal(found, secret)
        t.ok(isWellFormedSecret(found))
        t.ok(found.includes(keyword))
        t.ok(shannonEntropy(found) > Number(entropy), found)
      }
    }
  }
})

/** Bits for each character, as gitleaks computes it. */
function shannonEntropy(text: string): number {
  const counts = Object.values(Object.groupBy([...text], character => character)).map(group => group?.length ?? 0)
  return -counts.reduce((sum, count) => sum + (count / text.length) * Math.log2(count / text.length), 0)
}

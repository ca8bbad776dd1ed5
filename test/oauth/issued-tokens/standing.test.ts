import t from 'tap'
import { findInactivity, type Standing } from '../../../src/oauth/issued-tokens/standing.ts'

const NOW = Date.parse('2026-11-23T09:00:00.500Z')
const SECONDS = Math.floor(NOW / 1_000)
const token = { iat: SECONDS - 10, exp: SECONDS + 1, jti: 'a' }

function standing(members: Partial<Standing> = {}): Standing {
  return {
    ...{ client_id: 'k3v9x2m7q1w8z5t4r6y0', version: 1, enabled: true, expires_at: new Date(NOW + 1) },
    ...{ tokens_valid_from: null, revoked: [], read_at: new Date(NOW) },
    ...members
  }
}

t.test('a token is active while its registration is enabled, in force, and has not stopped it (spec 54)', async t => {
  const cutOff = (seconds: number) => standing({ tokens_valid_from: new Date(seconds * 1_000) })
  for (const active of [standing(), cutOff(token.iat - 1), cutOff(token.iat), standing({ revoked: ['b', 'A'] })]) {
    t.equal(findInactivity(token, active), undefined)
  }
  t.equal(findInactivity(token, undefined), 'deleted_client')
  t.equal(findInactivity(token, standing({ enabled: false })), 'disabled_client')
  t.equal(findInactivity(token, standing({ expires_at: new Date(NOW) })), 'expired_client')
  t.equal(findInactivity({ ...token, exp: SECONDS }, standing()), 'expired_token')
  t.equal(findInactivity(token, cutOff(token.iat + 1)), 'stopped_token')
  t.equal(findInactivity(token, standing({ revoked: ['b', 'a'] })), 'revoked_token')
})

import t, { type Test } from 'tap'
import { leftOutFor } from '../fixtures/faults/debian.ts'
import { apacheLeftOutFor } from './apache.ts'
import { type StartGateway, startModAuthOpenidc, startModOauth2, startNginxGateway } from './gateways.ts'
import { NGINX } from './nginx.ts'
import { startHttpsIssuer } from './tls-proxy.ts'
import { startIssuer, type Tokens } from './tokens.ts'

interface Case {
  start: StartGateway
  startTokens: (t: Test) => Promise<Tokens>
  skip: string | false
}

const cases: Record<string, Case> = {
  'Apache with mod_oauth2': { start: startModOauth2, startTokens: startIssuer, skip: apacheLeftOutFor('oauth2') },
  'Apache with mod_auth_openidc': {
    start: startModAuthOpenidc,
    startTokens: startHttpsIssuer,
    skip: apacheLeftOutFor('auth_openidc')
  },
  nginx: { start: startNginxGateway, startTokens: startIssuer, skip: leftOutFor(NGINX) }
}

for (const [name, { start, startTokens, skip }] of Object.entries(cases)) {
  t.test(
    `${name} introspects, unmodified: it accepts the tokens for its audience, scope and Site only`,
    { skip },
    async t => {
      const tokens = await startTokens(t)
      const accepts = await start(t, tokens)
      t.equal(await accepts(tokens.good), true, 'a good token is accepted')
      for (const [what, token] of Object.entries(tokens.rejected)) {
        t.equal(await accepts(token), false, `${what} is rejected`)
      }
      t.equal(await accepts(tokens.good), true, 'the good token is accepted again')
    }
  )

  t.test(`${name} rejects a token on the next request after it was revoked (RFC 7009)`, { skip }, async t => {
    const tokens = await startTokens(t)
    const accepts = await start(t, tokens)
    t.equal(await accepts(tokens.good), true)
    const { clientId, clientSecret } = tokens.client
    const body = new URLSearchParams({ client_id: clientId, client_secret: clientSecret, token: tokens.good })
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const answer = await tokens.grantd.send('POST', '/oauth/revoke', { headers, body: body.toString() })
    t.equal(answer.status, 200)
    t.equal(await accepts(tokens.good), false)
  })

  t.test(`${name} accepts no token while grantd is away`, { skip }, async t => {
    const tokens = await startTokens(t)
    const accepts = await start(t, tokens)
    await tokens.grantd.close()
    t.not(await accepts(tokens.good).catch(() => 'an error'), true)
  })
}

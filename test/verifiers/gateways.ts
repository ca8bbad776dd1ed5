import type { Test } from 'tap'
import type { Grantd } from '../fixtures/app/grantd.ts'
import { startApache } from './apache.ts'
import { startNginx } from './nginx.ts'
import { exampleOf } from './page.ts'
import type { Tokens } from './tokens.ts'
import { type Accepts, verifierAt } from './verifier.ts'

/**
 * Starts a gateway of docs/resource-servers.md that introspects, with a registration of its own.
 *
 * @param edit changes the configuration of the page
 */
export type StartGateway = (t: Test, tokens: Tokens, edit?: (example: string) => string) => Promise<Accepts>

const GRANTD = 'https://grantd.example.com'
const asItStands = (example: string): string => example

export const startModOauth2: StartGateway = async (t, { grantd, issuer }, edit = asItStands) => {
  const { clientId, clientSecret } = await registerGateway(grantd)
  const example = exampleOf('Apache with mod_oauth2, by introspection', {
    [GRANTD]: issuer,
    $GATEWAY_ID: clientId,
    $GATEWAY_SECRET: clientSecret
  })
  return verifierAt(await startApache(t, 'oauth2', edit(example)))
}

/** Needs an issuer with https. */
export const startModAuthOpenidc: StartGateway = async (t, { grantd, issuer }, edit = asItStands) => {
  const { clientId, clientSecret } = await registerGateway(grantd)
  const example = exampleOf('Apache with mod_auth_openidc, by introspection', {
    [GRANTD]: issuer,
    $GATEWAY_ID: clientId,
    $GATEWAY_SECRET: clientSecret
  })
  return verifierAt(await startApache(t, 'auth_openidc', edit(example)))
}

export const startNginxGateway: StartGateway = async (t, { grantd, issuer }) => {
  const { clientId, clientSecret } = await registerGateway(grantd)
  const replacements = {
    [GRANTD]: issuer,
    $GATEWAY_BASIC: Buffer.from(`${clientId}:${clientSecret}`).toString('base64')
  }
  const scripts = { 'introspection.js': exampleOf('introspection.js', {}) }
  return verifierAt(await startNginx(t, 'nginx, by introspection', replacements, scripts))
}

function registerGateway(grantd: Grantd) {
  return grantd.register({ name: 'API gateway', mayIntrospect: true, mayIdle: true })
}

import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import swagger from '@fastify/swagger'
import type { FastifyInstance, FastifySchema } from 'fastify'
import { Document } from 'yaml'
import { FAULT_KEYWORD } from '../src/admin-api/schema-faults.ts'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config/config.ts'
import { MacKeys } from '../src/credentials/mac-keys.ts'
import { Sealing } from '../src/crypto/key-encryption.ts'
import { openTables } from '../src/database/site-scoped-pool.ts'
import { Drain } from '../src/http/drain.ts'
import { HEADERS_LIMIT_BYTES, kib } from '../src/http/limits.ts'
import { createLog } from '../src/http/log.ts'
import { PROBLEM_TYPE } from '../src/http/problem.ts'
import { Registry } from '../src/metrics/registry.ts'
import { TOKEN_PATH } from '../src/oauth/token/routes.ts'
import type { RotatingKeySet } from '../src/signing-keys/key-set.ts'

/** `npm run openapi`: writes openapi.yaml from the routes. */

export const OPENAPI_FILE = path.join(import.meta.dirname, '../openapi.yaml')

/** Most generators still make untyped clients of 3.1. */
const OPENAPI_VERSION = '3.0.3'

const OPTIONAL_BODIES = ['rotate-secret', 'claim'].map(
  name => `/v1/sites/{siteId}/app-registrations/{clientId}/${name}`
)

/** Returns the description of the API as YAML. @param isWithFaults whether it has the sentences of faults too, an extension */
export async function describeApi({ isWithFaults = false } = {}): Promise<string> {
  const options = unconnected()
  const app = await buildApp(options, describeRoutes)
  await app.ready()
  // Without anchors, because some readers of OpenAPI do not support them.
  const replacer = (name: unknown, value: unknown) => (name === FAULT_KEYWORD && !isWithFaults ? undefined : value)
  const document = new Document(app.swagger(), replacer, { aliasDuplicateObjects: false })
  // The plugin declares every body as required. Without a body, these use the defaults.
  for (const path of OPTIONAL_BODIES) document.setIn(['paths', path, 'post', 'requestBody', 'required'], false)
  const yaml = document.toString({ lineWidth: 120 })
  await app.close()
  await options.background.destroy()
  return yaml
}

/** Answers that the server itself can give to any request, whatever its route declares. */
const SERVER_ANSWERS: Record<string, string> = {
  400: 'The request is malformed.',
  408: 'The request did not arrive completely in time.',
  415: 'The request has a Content-Encoding.',
  431: `The headers are longer than ${kib(HEADERS_LIMIT_BYTES)} together.`,
  500: 'Internal error.'
}

/** Adds the answers of the server to an operation. The token endpoint has its own answer to a Content-Encoding. */
function withServerAnswers(operation: FastifySchema, path: string): FastifySchema {
  const declared = Object(operation.response)
  const added = Object.entries(SERVER_ANSWERS)
    .filter(([status]) => !(status in declared) && !(status === '415' && path === TOKEN_PATH))
    .map(([status, description]) => [status, problemResponse(description)])
  return { ...operation, response: { ...declared, ...Object.fromEntries(added) } }
}

function problemResponse(description: string): object {
  return { description, content: { [PROBLEM_TYPE]: { schema: { $ref: 'Problem' } } } }
}

async function describeRoutes(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: OPENAPI_VERSION,
      info: {
        title: 'grantd',
        version: '1',
        description: [
          'OAuth 2.0 client credentials for services.',
          'A Site administrator creates an App registration.',
          'A service exchanges the Client ID and the Client secret of the registration for a short-lived access token.',
          'A path that exists answers other methods with 405 and the header Allow.'
        ].join(' '),
        license: { name: 'Proprietary' }
      },
      servers: [{ url: 'http://127.0.0.1:3000', description: 'A grantd that npm start runs on this machine.' }],
      tags: [
        { name: 'Tokens', description: 'Exchange client credentials for access tokens.' },
        { name: 'App registrations', description: 'Manage the registrations of a Site.' },
        { name: 'Claims', description: 'Hand a Client secret over without seeing it.' },
        { name: 'Leaked secrets', description: 'Stop secrets that were found in the open.' },
        { name: 'Notices', description: 'See what expires, and choose who is notified.' },
        { name: 'Audit', description: 'See what administrators did.' },
        { name: 'Discovery', description: 'Find the endpoints and the public keys.' },
        { name: 'Operation', description: 'Check the health of an instance.' }
      ],
      components: {
        securitySchemes: {
          administrator: {
            type: 'http',
            scheme: 'bearer',
            bearerFormat: 'JWT',
            description: 'Token of the identity provider. A claim lists the Sites that its bearer administers.'
          },
          claimTicket: { type: 'http', scheme: 'bearer', description: 'Claim ticket, which works once.' },
          client: { type: 'http', scheme: 'basic', description: 'Client ID and Client secret (RFC 6749 §2.3.1).' }
        }
      },
      security: [{ administrator: [] }]
    },
    transform: ({ schema, url }) => ({ schema: withServerAnswers(schema, url), url }),
    // Schemas keep their own names, so that generated clients have good type names.
    refResolver: { buildLocalReference: (json, _base, _fragment, index) => String(json['$id'] ?? `def-${index}`) }
  })
}

/** Returns the parts that building the routes takes. None of them is connected to anything. */
function unconnected() {
  const keySet: RotatingKeySet = {
    get active(): never {
      throw new Error('there is no key here')
    },
    activeKid: undefined,
    activeTimes: undefined,
    published: async () => [],
    verificationKey: () => undefined,
    learn: async () => {},
    cacheSeconds: () => 0,
    refresh: async () => {}
  }
  const keys = async (): Promise<never> => {
    throw new Error('there is no issuer here')
  }
  const tables = openTables({
    connectionString: 'postgresql://',
    maxConnections: 2,
    queryTimeoutMs: 0,
    onIdleError: () => {}
  })
  const sealing = new Sealing(Buffer.alloc(32))
  return {
    config: loadConfig({}),
    tables,
    background: tables.ofAllSites,
    lookups: tables.ofAllSites,
    health: tables.ofAllSites,
    lastUsedWriter: tables.ofAllSites,
    assertionUses: tables.ofAllSites,
    standings: tables.ofAllSites,
    trustedIssuers: { keysOf: () => undefined },
    sealing,
    macKeys: new MacKeys({ db: tables.ofAllSites, sealing }),
    keySet,
    trusted: { issuer: '', audience: '', keys },
    log: createLog('silent'),
    metrics: new Registry(),
    drain: new Drain(),
    now: Date.now
  }
}

if (process.argv[1] === import.meta.filename) await writeFile(OPENAPI_FILE, await describeApi())

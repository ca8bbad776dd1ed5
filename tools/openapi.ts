import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'
import { Document } from 'yaml'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config/config.ts'
import { Sealing } from '../src/crypto/key-encryption.ts'
import { openTables } from '../src/database/site-scoped-pool.ts'
import { Drain } from '../src/http/drain.ts'
import { createLog } from '../src/http/log.ts'
import { Registry } from '../src/metrics/registry.ts'
import type { TendedKeySet } from '../src/signing-keys/key-set.ts'

/** Door: writes openapi.yaml from the routes. */

export const OPENAPI_FILE = path.join(import.meta.dirname, '../openapi.yaml')

/** 3.0.3 rather than 3.1, which most generators still turn into untyped clients. */
const OPENAPI_VERSION = '3.0.3'

const ROTATION = '/v1/sites/{siteId}/app-registrations/{clientId}/rotate-secret'

/** @returns the description of the API, as YAML */
export async function describeApi(): Promise<string> {
  const needs = unconnected()
  const app = await buildApp(needs, describeRoutes)
  await app.ready()
  // Without anchors: not every reader of OpenAPI knows them.
  const document = new Document(app.swagger(), { aliasDuplicateObjects: false })
  // The plugin calls every body required; a rotation without one is a rotation by default.
  document.setIn(['paths', ROTATION, 'post', 'requestBody', 'required'], false)
  const yaml = document.toString({ lineWidth: 120 })
  await app.close()
  await needs.background.destroy()
  return yaml
}

async function describeRoutes(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: OPENAPI_VERSION,
      info: {
        title: 'grantd',
        version: '1',
        description:
          'Client credentials for services. An administrator makes an App registration for a Site; a service exchanges its Client ID and Client secret for a short-lived access token.'
      },
      servers: [{ url: 'http://127.0.0.1:3000', description: 'npm start' }],
      tags: [
        { name: 'Tokens', description: 'The token endpoint' },
        { name: 'App registrations', description: 'For Site Administrators' },
        { name: 'Notices', description: 'What expires, and who is told' },
        { name: 'Audit', description: 'What administrators did' },
        { name: 'Discovery', description: 'For clients and resource servers' },
        { name: 'Operation', description: 'For the platform' }
      ],
      components: {
        securitySchemes: {
          administrator: {
            type: 'http',
            scheme: 'bearer',
            bearerFormat: 'JWT',
            description: 'Token of the identity provider; a claim lists the Sites its bearer administers'
          },
          client: { type: 'http', scheme: 'basic', description: 'Client ID and Client secret (RFC 6749 §2.3.1)' }
        }
      },
      security: [{ administrator: [] }]
    },
    // Schemas keep their own names, so that generated clients have good type names.
    refResolver: { buildLocalReference: (json, _base, _fragment, index) => String(json['$id'] ?? `def-${index}`) }
  })
}

/** What building the routes needs; nothing of it is ever asked. */
function unconnected() {
  const keySet: TendedKeySet = {
    get active(): never {
      throw new Error('there is no key here')
    },
    activeKid: undefined,
    activeTimes: undefined,
    published: async () => [],
    cacheSeconds: () => 0,
    tend: async () => {}
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
  return {
    config: loadConfig({}),
    tables,
    background: tables.ofAllSites,
    lookups: tables.ofAllSites,
    lastUsedWriter: tables.ofAllSites,
    sealing: new Sealing(Buffer.alloc(32)),
    keySet,
    trusted: { issuer: '', audience: '', keys },
    log: createLog('silent'),
    metrics: new Registry(),
    drain: new Drain(),
    now: Date.now
  }
}

if (process.argv[1] === import.meta.filename) await writeFile(OPENAPI_FILE, await describeApi())

import { readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { ROOT } from '../fixtures/run/paths.ts'
import { breaches } from './breaches.ts'
import { type Document, RELEASES } from './document.ts'

/** Breaches that the CHANGELOG announces, and why clients can bear them. One that is no breach any more must go. */
const ANNOUNCED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  '0.2.0': {
    'CreatedRegistration may lack the member clientSecret.':
      'only in the answer to a request with publicKey, federated or deliver, which clients of 0.2.0 do not send',
    'Notice.step may be null.': 'only for the types of notices that 0.2.0 does not have'
  }
}

const now: Document = parse(readFileSync(path.join(ROOT, 'openapi.yaml'), 'utf8'))

t.test(
  'the openapi.yaml of the version in package.json is kept, so that the next change is compared with it',
  async t => {
    const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'))
    t.ok(RELEASES.has(version), `run: cp openapi.yaml test/contract/openapi-${version}.yaml`)
  }
)

for (const [version, document] of RELEASES) {
  t.test(`openapi.yaml does not break clients that were made from that of release ${version}`, async t => {
    t.same(breaches(document, now).sort(), Object.keys(ANNOUNCED[version] ?? {}).sort())
  })
}

const [before] = RELEASES.values()
if (before === undefined) throw new Error('no release is kept')
/** A registration as it is created, changed and read: its members in requests and in answers. */
const COLLECTION = '/v1/sites/{siteId}/app-registrations'
const ITEM = `${COLLECTION}/{clientId}`

/** Returns a copy of the document of the release, which may be changed. */
function copy(): ReturnType<typeof JSON.parse> {
  return structuredClone(before)
}

t.test('a document has no breach against itself, or when it only adds', async t => {
  t.same(breaches(copy(), copy()), [])
  const more = copy()
  more.paths['/v1/new'] = { get: { operationId: 'getNew', responses: {} } }
  more.paths[COLLECTION].post.parameters.push({ name: 'dryRun', in: 'query', schema: { type: 'boolean' } })
  more.components.schemas.CreateRegistration.properties.new = { type: 'string' }
  more.components.schemas.CreateRegistration.properties.name.maxLength += 1
  more.components.schemas.Registration.properties.new = { type: 'string' }
  more.components.schemas.Registration.required.push('new')
  more.components.schemas.Registration.properties.state.enum.push('sleeping')
  more.paths[ITEM].get.responses['409'] = { description: 'A conflict' }
  delete more.paths[ITEM].get.responses['404']
  t.same(breaches(copy(), more), [])
})

/** Each change, and the sentence that must name it. */
const CONTROLS: readonly [change: (document: ReturnType<typeof copy>) => void, sentence: string][] = [
  [({ paths }) => delete paths[ITEM], `GET ${ITEM} is gone.`],
  [({ paths }) => delete paths[ITEM].patch, `PATCH ${ITEM} is gone.`],
  [
    ({ paths }) => (paths[ITEM].get.operationId = 'readAppRegistration'),
    `GET ${ITEM} is called readAppRegistration and no longer getAppRegistration, which renames a method of clients.`
  ],
  [
    ({ paths }) => (paths['/health/live'].get.security = [{ administrator: [] }]),
    'GET /health/live no longer takes nothing as authentication.'
  ],
  [
    ({ paths }) =>
      (paths[COLLECTION].get.parameters = paths[COLLECTION].get.parameters.filter(
        ({ name }: { name: string }) => name !== 'search'
      )),
    `GET ${COLLECTION} query parameter search is gone.`
  ],
  [
    ({ paths }) =>
      paths[COLLECTION].get.parameters.push({
        name: 'tenant',
        in: 'query',
        required: true,
        schema: { type: 'string' }
      }),
    `GET ${COLLECTION} requires the query parameter tenant.`
  ],
  [
    ({ paths }) => (paths[`${ITEM}/rotate-secret`].post.requestBody.required = true),
    `POST ${ITEM}/rotate-secret requires a body.`
  ],
  [
    ({ components }) => components.schemas.CreateRegistration.required.push('scopes'),
    'CreateRegistration requires the member scopes.'
  ],
  [
    ({ components }) => delete components.schemas.CreateRegistration.properties.scopes,
    'CreateRegistration has no member scopes any more.'
  ],
  [
    ({ components }) => (components.schemas.CreateRegistration.properties.name.maxLength = 50),
    'CreateRegistration.name has the maxLength 50, which was not limited.'
  ],
  [
    ({ components }) => (components.schemas.CreateRegistration.properties.scopes.minItems = 1),
    'CreateRegistration.scopes has the minItems 1, which was not limited.'
  ],
  [
    ({ components }) => (components.schemas.TokenRequest.properties.grant_type.enum = ['password']),
    'TokenRequest.grant_type no longer takes the value client_credentials.'
  ],
  [
    ({ components }) => delete components.schemas.Registration.properties.lastUsedAt,
    'Registration has no member lastUsedAt any more.'
  ],
  [
    ({ components }) => components.schemas.Registration.properties.state.enum.shift(),
    'Registration.state has no value active any more.'
  ],
  [
    ({ components }) => (components.schemas.Registration.properties.expiresInDays.type = 'string'),
    'Registration.expiresInDays is string, which was integer.'
  ],
  [
    ({ components }) => (components.schemas.Registration.properties.name.nullable = true),
    'Registration.name may be null.'
  ],
  [({ components }) => components.schemas.Registration.required.shift(), 'Registration may lack the member clientId.'],
  [
    ({ components }) => (components.schemas.Registration.properties.scopes.items.type = 'integer'),
    'Registration.scopes[] is integer, which was string.'
  ],
  [({ paths }) => delete paths[ITEM].get.responses['200'], `GET ${ITEM} 200 is gone.`],
  [({ paths }) => delete paths[ITEM].get.responses['200'].headers.ETag, `GET ${ITEM} 200 has no header ETag any more.`],
  [
    ({ paths }) => {
      const { content } = paths[ITEM].get.responses['200']
      content['application/hal+json'] = content['application/json']
      delete content['application/json']
    },
    `GET ${ITEM} 200 is no longer application/json.`
  ]
]

for (const [change, sentence] of CONTROLS) {
  t.test(`control: it is a breach that ${sentence.replace(/\.$/, '')}`, async t => {
    const changed = copy()
    change(changed)
    t.ok(breaches(copy(), changed).includes(sentence), breaches(copy(), changed).join('\n') || 'no breach')
  })
}

import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { folded, OWN_OPTIONS, readArguments, UsageError } from '../../../src/commands/cli/arguments.ts'
import { readOperations } from '../../../src/commands/cli/description.ts'
import { type Request, requestOf } from '../../../src/commands/cli/request.ts'
import { PRIVATE_MEMBERS } from '../../../src/crypto/private-members.ts'
import { temporaryFolder } from '../../fixtures/run/process.ts'

const operations = readOperations()
const BASE_URL = 'http://127.0.0.1:3000/grantd'

/** Makes the request of a typed call. */
function requestFor(...words: string[]): Request {
  const typed = readArguments(words)
  const operation = operations.find(({ id }) => id === typed.operationId)
  if (operation === undefined) throw new Error(`no operation ${typed.operationId}`)
  return requestOf(operation, typed, BASE_URL)
}

t.test(
  'each operation of openapi.yaml becomes a request with the examples of its parameters, without code of its own',
  async t => {
    t.ok(operations.length > 30)
    const file = path.join(temporaryFolder(t), 'secret')
    writeFileSync(file, 'secret')
    for (const { id, path, method, options } of operations) {
      const words = options
        .filter(({ isRequired, place }) => isRequired && place !== 'body')
        .flatMap(({ name, schema }) => [
          `--${name}`,
          schema.format === 'password' ? `@${file}` : String(schema.example)
        ])
      const request = requestFor(id, ...words)
      t.equal(request.method, method, id)
      const pattern = path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/{}]+')
      t.match(request.url.pathname, new RegExp(`^/grantd${pattern}$`), id)
    }
  }
)

t.test('no two options of a call have one name, however it is written', async t => {
  for (const { id, options } of operations) {
    const names = [...options.map(({ name }) => name), ...Object.keys(OWN_OPTIONS)].map(folded)
    t.same(names, [...new Set(names)], id)
  }
})

t.test('members of the body are options in the types of openapi.yaml', async t => {
  const { url, headers, body } = requestFor(
    ...['createAppRegistration', '--site-id', 'acme', '--name', '1984', '--expiresAt', '2027-11-27T08:00:00Z'],
    ...['--scopes', 'devices:read', '--scopes', 'true', '--enabled', 'false', '--mayIdle'],
    ...['--publicKey', '{kty: OKP, crv: Ed25519, x: abc}', '--Idempotency-Key', 'a key of many letters']
  )
  t.equal(url.pathname, '/grantd/v1/sites/acme/app-registrations')
  t.same(headers, { 'idempotency-key': 'a key of many letters', 'content-type': 'application/json' })
  t.same(JSON.parse(body ?? ''), {
    ...{ name: '1984', expiresAt: '2027-11-27T08:00:00Z', scopes: ['devices:read', 'true'] },
    ...{ enabled: false, mayIdle: true, publicKey: { kty: 'OKP', crv: 'Ed25519', x: 'abc' } }
  })
})

t.test('a file holds the body in YAML or JSON, and an option takes the place of its member', async t => {
  const folder = temporaryFolder(t)
  const [yaml, json] = [path.join(folder, 'body.yaml'), path.join(folder, 'body.json')]
  writeFileSync(yaml, 'name: of the file\nexpiresAt: 2027-11-27T08:00:00Z\nscopes:\n  - devices:read\n')
  writeFileSync(json, '{"name":"of the file","expiresAt":"2027-11-27T08:00:00Z","scopes":["devices:read"]}')
  for (const file of [yaml, json]) {
    const { body } = requestFor('createAppRegistration', '--siteId', 'acme', '-f', file, '--name', 'of the option')
    t.same(JSON.parse(body ?? ''), {
      ...{ name: 'of the option', expiresAt: '2027-11-27T08:00:00Z', scopes: ['devices:read'] }
    })
  }
})

t.test(
  'a token request is a form, whose only grant type need not be typed, and whose secret comes from a file',
  async t => {
    const file = path.join(temporaryFolder(t), 'secret')
    writeFileSync(file, 'grantd_s3cr&t\n')
    const { body, headers } = requestFor('exchangeCredentials', '--client_id', 'abc', '--client-secret', `@${file}`)
    t.same(headers, { 'content-type': 'application/x-www-form-urlencoded' })
    t.same(Object.fromEntries(new URLSearchParams(body)), {
      ...{ grant_type: 'client_credentials', client_id: 'abc', client_secret: 'grantd_s3cr&t' }
    })
  }
)

t.test('a secret in the arguments is refused, because other users of the machine can read them', async t => {
  const secret = 'grantd_9Ki2jd8'
  for (const id of ['exchangeCredentials', 'rotateOwnSecret']) {
    const words = [id, '--client_id', 'abc', '--client_secret', secret]
    const message =
      /^--client_secret is a secret, and other users of this machine can read arguments\. Give its file as @path/
    t.throws(() => requestFor(...words), { name: 'UsageError', message })
    t.throws(() => requestFor(...words), { message: /^((?!grantd_9Ki2jd8)[\s\S])*$/ }, 'the message does not repeat it')
  }
})

t.test('a list of secrets in the arguments is refused too, and none is repeated', async t => {
  const file = path.join(temporaryFolder(t), 'secrets')
  writeFileSync(file, '{secret: grantd_9Ki2jd8}\n')
  for (const id of ['lookUpSecrets', 'reportSecrets']) {
    const words = [id, '--secrets', '{secret: grantd_9Ki2jd8}']
    t.throws(() => requestFor(...words), { name: 'UsageError', message: /^--secrets is a secret, and other users/ })
    t.throws(() => requestFor(...words), { message: /^((?!grantd_9Ki2jd8)[\s\S])*$/ })
    const { body } = requestFor(id, '--secrets', `@${file}`)
    t.same(JSON.parse(body ?? ''), { secrets: [{ secret: 'grantd_9Ki2jd8' }] })
  }
})

t.test('a private key is not sent, and not repeated', async t => {
  for (const member of PRIVATE_MEMBERS) {
    const key = `{kty: EC, crv: P-256, x: a, y: b, ${member}: CANARY}`
    for (const id of ['createAppRegistration', 'rotateClientSecret']) {
      const words = [
        id,
        '--siteId',
        'acme',
        ...(id.startsWith('rotate') ? ['--clientId', 'abc'] : []),
        '--publicKey',
        key
      ]
      t.throws(() => requestFor(...words), {
        name: 'UsageError',
        message: /^--publicKey holds a private key(?!.*CANARY)/
      })
    }
  }
})

t.test('a list is emptied by []', async t => {
  const words = ['changeAppRegistration', '--siteId', 'acme', '--clientId', 'abc']
  const { body } = requestFor(...words, '--scopes', '[]', '--audiences=[]', '--name', '[]')
  t.same(JSON.parse(body ?? ''), { scopes: [], audiences: [], name: '[]' })
  t.throws(() => requestFor(...words, '--scopes'), { message: '--scopes needs a value. An empty list is []' })
})

t.test('openapi.yaml marks every secret of a call, so that none is taken from the arguments', async t => {
  const isSecret = (name: string) => /(^|_)(secret|token|assertion)$/.test(name)
  const found = operations.flatMap(({ path, options }) =>
    options.filter(({ name }) => isSecret(name) || path === `/calendar/{${name}}.ics`)
  )
  for (const { name, schema } of found) t.equal(schema.format, 'password', name)
  t.match([...new Set(found.map(({ name }) => name))].sort(), ['client_assertion', 'client_secret', 'key', 'token'])
})

t.test('a value of a path is one part of the path, whatever it is', async t => {
  const path = (siteId: string) => requestFor('listAppRegistrations', '--siteId', siteId).url.pathname
  t.equal(path('a/b'), '/grantd/v1/sites/a%2Fb/app-registrations')
  t.equal(path('$&'), '/grantd/v1/sites/%24%26/app-registrations')
  t.equal(path('@@home'), '/grantd/v1/sites/%40home/app-registrations')
  for (const siteId of ['', '.', '..']) t.throws(() => path(siteId), UsageError, siteId)
})

t.test('parameters of the query are sent as they are typed, so that grantd itself says what is wrong', async t => {
  const { url } = requestFor(
    'listAppRegistrations',
    '--siteId',
    'acme',
    '--limit',
    'many',
    '--search',
    'a&b',
    '--enabled'
  )
  t.same(Object.fromEntries(url.searchParams), { limit: 'many', search: 'a&b', enabled: 'true' })
})

t.test('a call that cannot be made names the option to change', async t => {
  const SITE = ['--siteId', 'acme']
  const CLIENT = [...SITE, '--clientId', 'abc']
  for (const [message, ...words] of [
    [/^--siteId is required: Id of the Site/, 'listAppRegistrations'],
    [/^listAppRegistrations has no option --page\. It has --limit, /, 'listAppRegistrations', ...SITE, '--page', '1'],
    [/^getJwks has no option --page\. It has none\./, 'getJwks', '--page', '1'],
    [
      /^--if-match has a character that a header cannot have$/,
      'deleteAppRegistration',
      ...CLIENT,
      '--if-match',
      'a\nb'
    ],
    [/^--limit needs a value/, 'listAppRegistrations', ...SITE, '--limit'],
    [/^--limit is given more than once/, 'listAppRegistrations', ...SITE, '--limit', '1', '--limit', '2'],
    [/^--enabled must be of the type boolean/, 'createAppRegistration', ...SITE, '--enabled', 'yes'],
    [/^--publicKey: /, 'createAppRegistration', ...SITE, '--publicKey', '{'],
    [/^--publicKey must be of the type object/, 'createAppRegistration', ...SITE, '--publicKey', 'key'],
    [/^--name: ENOENT/, 'createAppRegistration', ...SITE, '--name', '@/nowhere'],
    [/^--file: ENOENT/, 'createAppRegistration', ...SITE, '-f', '/nowhere'],
    [/^listAppRegistrations takes no body/, 'listAppRegistrations', ...SITE, '-f', '/nowhere']
  ] as const) {
    t.throws(() => requestFor(...words), { name: 'UsageError', message }, words.join(' '))
  }
  const file = path.join(temporaryFolder(t), 'list.yaml')
  writeFileSync(file, '- name: x\n')
  t.throws(() => requestFor('createAppRegistration', ...SITE, '-f', file), { message: /^--file must hold the members/ })
})

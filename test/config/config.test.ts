import { execFile } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { type Config, ConfigError, describeConfig, type Environment, loadConfig } from '../../src/config/config.ts'
import { caught } from '../fixtures/run/caught.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'

const KEY = randomBytes(32)
const ADMIN = { ADMIN_ISSUER: 'https://identity.example.com', ADMIN_AUDIENCE: 'grantd-admin' }
const PRODUCTION = {
  ...ADMIN,
  NODE_ENV: 'production',
  ISSUER: 'https://grantd.example.com',
  DATABASE_URL: 'postgresql://grantd@db.example.com/grantd',
  KEY_ENCRYPTION_KEY: KEY.toString('base64url')
}

/** Returns all faults of this environment. */
function faultsOf(environment: Environment): readonly string[] {
  const error = caught(() => loadConfig(environment))
  if (error === undefined) return []
  if (!(error instanceof ConfigError)) throw error
  return error.faults
}

const PUBLIC_KEY = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' })
const WEBHOOK_SECRET = `whsec_${randomBytes(32).toString('base64')}`
const OTHER_WEBHOOK_SECRET = `whsec_${randomBytes(24).toString('base64')}`

/** Variables that need each other. When one of them is unset, all are. */
const TOGETHER = ['NOTICE_WEBHOOK_URL', 'NOTICE_WEBHOOK_SECRET', 'SMTP_URL', 'NOTICE_MAIL_FROM']

interface Variable {
  /** Variables that must be set beside it. */
  beside?: Environment
  read: (config: Config) => unknown
  fallback: unknown
  /** Text, and the value that is read from it. */
  good: readonly (readonly [string, unknown])[]
  bad: readonly string[]
}

const whole = (read: Variable['read'], fallback: number, least: number, most: number): Variable => ({
  read,
  fallback,
  good: [
    [String(least), least],
    [String(most), most],
    [` ${most} `, most]
  ],
  bad: [
    String(least - 1),
    String(most + 1),
    ...['-1', '+1', '1.5', '1e2', '0x10', '1_000', '1,000', '١', 'NaN', 'Infinity', 'ten', '10 s', '9'.repeat(20)]
  ]
})

/** A number that may also be 0. */
const zeroOr = ({ good, ...variable }: Variable): Variable => ({ ...variable, good: [...good, ['0', 0]] })

const BAD_URLS = ['example.com', '/path', 'ftp://example.com', 'javascript:alert(1)', 'https://', 'https://a b', '//a']
const BAD_DATABASE_URLS = [
  'mysql://db.example.com/grantd',
  'https://db.example.com',
  'host=db.example.com',
  'db',
  'postgres:/db',
  'postgresql://[db/grantd',
  'postgresql://db:port/grantd',
  'postgresql://db:99999/grantd',
  'postgresql://db,:5432/grantd',
  'postgresql://db,db:99999/grantd',
  'postgresql://db1,db2/grantd?target_session_attrs=standby',
  'postgresql://db1,db2/grantd?host=/run/postgresql'
]

const databaseUrl = (read: Variable['read'], fallback: unknown): Variable => ({
  read,
  fallback,
  good: [
    'postgresql://grantd:p%40ss@db.example.com:5432/grantd?sslmode=verify-full',
    'postgres://grantd@[::1]/grantd',
    'postgresql:///grantd?host=%2Frun%2Fpostgresql',
    'postgresql://grantd@localhost/grantd?host=/run/postgresql',
    'postgresql://grantd:secret@/grantd?host=/run/postgresql',
    'postgresql://grantd:secret@db1:5432,db2,[::1]:5433/grantd?target_session_attrs=read-write'
  ].map(url => [url, url] as const),
  bad: BAD_DATABASE_URLS
})

const anyText = (read: Variable['read'], fallback: unknown): Variable => ({
  read,
  fallback,
  good: [
    ['text', 'text'],
    ['  with spaces  ', 'with spaces'],
    ['https://acme.example/x', 'https://acme.example/x']
  ],
  bad: []
})

const keyBytes = (read: Variable['read']): Variable => ({
  read,
  fallback: undefined,
  good: [
    [KEY.toString('base64url'), KEY],
    [KEY.toString('base64'), KEY],
    [KEY.toString('hex'), KEY],
    [KEY.toString('hex').toUpperCase(), KEY],
    [`${KEY.toString('base64')}\n`, KEY]
  ],
  bad: [
    'changeme',
    'secret',
    'CHANGE_ME_CHANGE_ME_CHANGE_ME_CHANGE_ME_AAA',
    'a'.repeat(32),
    'a'.repeat(43),
    'ab'.repeat(32),
    'A'.repeat(44),
    '0'.repeat(64),
    'f'.repeat(64),
    '0123456789abcdef'.repeat(4),
    Buffer.alloc(32).toString('base64'),
    Buffer.alloc(32, 1).toString('base64url'),
    Buffer.from('0123456701234567').toString('base64').repeat(2).slice(0, 43),
    randomBytes(16).toString('hex'),
    randomBytes(31).toString('hex'),
    randomBytes(33).toString('hex'),
    randomBytes(16).toString('base64'),
    randomBytes(31).toString('base64'),
    randomBytes(33).toString('base64'),
    `${KEY.toString('base64url')}!`,
    `"${KEY.toString('base64url')}"`,
    `0x${KEY.toString('hex')}`,
    KEY.toString('hex').replace(/^./, 'g')
  ]
})

const VARIABLES: Record<string, Variable> = {
  HOST: {
    read: config => config.host,
    fallback: '127.0.0.1',
    good: ['0.0.0.0', '::', '::1', 'localhost', 'grantd.internal', 'grantd-1'].map(host => [host, host] as const),
    bad: ['a b', 'a/b', 'http://localhost', 'localhost:3000', 'a@b', 'a?b', 'a#b', '[::1]', '-a', ':::', '<a>']
  },
  PORT: whole(config => config.port, 3_000, 1, 65_535),
  MAX_CONNECTIONS: whole(config => config.maxConnections, 10_000, 1, 1_000_000),
  KEEP_ALIVE_SECONDS: whole(config => config.keepAliveSeconds, 72, 1, 3_600),
  ISSUER: {
    read: config => config.issuer,
    fallback: 'http://127.0.0.1:3000',
    good: ['https://grantd.example.com', 'https://example.com/a/b:c@d/', 'http://localhost:8080'].map(
      url => [url, url] as const
    ),
    bad: [
      ...BAD_URLS,
      'https://a.example?b',
      'https://a.example#b',
      'https://a.example/?',
      'https://u:p@a.example'
    ].concat(...['https://a.example/*', 'https://a.example/b%20c', 'https://a.example/é', 'https://a.example/%ff'])
  },
  METRICS_PORT: {
    read: config => config.metricsPort,
    fallback: 9464,
    good: [
      ['1', 1],
      ['65535', 65_535],
      ['0', undefined]
    ],
    bad: ['-1', '65536', 'off', '9464.0', '3000']
  },
  WORKERS: {
    read: config => config.workers,
    fallback: 1,
    good: [
      ['1', 1],
      ['256', 256],
      ['auto', availableParallelism()]
    ],
    bad: ['0', '257', '-1', 'Auto', 'all', '2.5']
  },
  DATABASE_URL: databaseUrl(config => config.database.url, undefined),
  MIGRATION_DATABASE_URL: databaseUrl(config => config.database.migrationUrl, undefined),
  DATABASE_POOL_SIZE: whole(config => config.database.poolSize, 10, 2, 100),
  DATA_DIR: {
    read: config => config.dataFolder,
    fallback: path.resolve('data'),
    good: [
      ['/var/lib/grantd', '/var/lib/grantd'],
      ['elsewhere', path.resolve('elsewhere')]
    ],
    bad: []
  },
  NODE_ENV: {
    read: config => config.isProduction,
    fallback: false,
    good: [
      ['development', false],
      ['test', false]
    ],
    bad: ['prod', 'Production', 'PRODUCTION', 'production,', 'staging', 'dev']
  },
  LOG_LEVEL: {
    read: config => config.logLevel,
    fallback: 'info',
    good: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'].map(level => [level, level] as const),
    bad: ['INFO', 'verbose', '30', 'none']
  },
  KEY_ENCRYPTION_KEY: keyBytes(config => config.keyEncryptionKey),
  KEY_ENCRYPTION_KEY_PREVIOUS: keyBytes(config => config.previousKeyEncryptionKey),
  KEY_ROTATION_DAYS: whole(config => config.keyRotationDays, 90, 0, 3_650),
  SIGNING_ALGORITHM: {
    read: config => config.tokens.signingAlgorithm,
    fallback: 'ES256',
    good: ['ES256', 'RS256', 'EdDSA'].map(algorithm => [algorithm, algorithm] as const),
    bad: ['HS256', 'none', 'es256', 'RS512', 'ES384', 'PS256', 'ed25519']
  },
  ACCESS_TOKEN_AUDIENCE: anyText(config => config.tokens.audience, 'http://127.0.0.1:3000'),
  ACCESS_TOKEN_TTL_SECONDS: whole(config => config.tokens.ttlSeconds, 900, 1, 3_600),
  SCOPES_SUPPORTED: {
    read: config => config.registrations.scopesSupported,
    fallback: undefined,
    good: [
      ['devices:read', ['devices:read']],
      [' devices:read  devices:write,\n!#[]~ ,', ['devices:read', 'devices:write', '!#[]~']],
      ['s'.repeat(128), ['s'.repeat(128)]]
    ],
    bad: [',', 'a b a', 'a,a', '"a"', 'a\\b', 'é', 'a\u0000b', 'a b\u007f', 's'.repeat(129)]
  },
  PUBLISH_AUTHORIZATION_ENDPOINT: {
    read: config => config.discovery.publishesAuthorizationEndpoint,
    fallback: false,
    good: [
      ['true', true],
      ['false', false]
    ],
    bad: ['yes', 'TRUE', '1', '0', 'on', 'https://example.com']
  },
  TOKEN_FAILURE_LIMIT: whole(config => config.tokens.failureLimit, 100, 1, 1_000_000),
  STALE_CREDENTIALS_SECONDS: whole(config => config.tokens.staleSeconds, 60, 0, 3_600),
  CLIENT_SECRET_PREFIX: {
    read: config => config.registrations.secretPrefix,
    fallback: 'grantd_',
    good: ['acme_1', 'Acme_Prod_', `a${'b'.repeat(31)}`].map(prefix => [prefix, prefix] as const),
    bad: ['acme', '1acme_', '_acmeco', 'acme-secret', 'acme secret', 'acmé__', 'a:bcdef', 'a'.repeat(33)]
  },
  MAX_REGISTRATION_LIFETIME_DAYS: whole(config => config.registrations.maxLifetimeDays, 731, 1, 36_500),
  MAX_REGISTRATIONS_PER_SITE: whole(config => config.registrations.maxPerSite, 1_000, 1, 1_000_000),
  AUDIT_RETENTION_DAYS: zeroOr(whole(config => config.audit.retentionDays, 400, 30, 36_500)),
  ADMIN_ISSUER: {
    beside: { ADMIN_AUDIENCE: 'grantd-admin' },
    read: config => config.admin.identityProvider?.issuer,
    fallback: undefined,
    good: [
      'https://identity.example.com',
      'https://identity.example.com/realms/acme/',
      'http://localhost:8080/realms/acme',
      'http://127.0.0.1:8080',
      'http://127.1.2.3',
      'http://[::1]:8080'
    ].map(url => [url, url] as const),
    bad: [
      ...BAD_URLS,
      'https://a.example?b',
      'https://a.example#b',
      'https://u:p@a.example',
      'http://identity.example.com',
      'http://localhost.example.com',
      'http://127.0.0.1.example.com',
      'http://10.0.0.1',
      'http://0.0.0.0',
      'http://[::2]'
    ]
  },
  ADMIN_AUDIENCE: {
    ...anyText(config => config.admin.identityProvider?.audience, undefined),
    beside: { ADMIN_ISSUER: ADMIN.ADMIN_ISSUER }
  },
  ADMIN_JWKS_URI: {
    beside: ADMIN,
    read: config => config.admin.identityProvider?.jwksUri,
    fallback: undefined,
    good: ['https://identity.example.com/keys?v=1', 'http://localhost:8080/keys'].map(url => [url, url] as const),
    bad: [...BAD_URLS, 'http://identity.example.com/keys', 'https://u:p@identity.example.com/keys', 'file:///keys']
  },
  ADMIN_SITES_CLAIM: anyText(config => config.admin.sitesClaim, 'site_admin'),
  INTROSPECTION_SITES: {
    read: config => config.tokens.introspectionSites,
    fallback: [],
    good: [
      ['gateways', ['gateways']],
      [' gateways , edge-1._x, ', ['gateways', 'edge-1._x']]
    ],
    bad: ['*', 'a b', '-edge', 'a/b', `a${'b'.repeat(64)}`, 'édge', 'a,*']
  },
  ADMIN_CORS_ORIGINS: {
    read: config => config.admin.corsOrigins,
    fallback: [],
    good: [
      ['https://admin.example.com', ['https://admin.example.com']],
      [' https://a.example , http://localhost:5173, ', ['https://a.example', 'http://localhost:5173']]
    ],
    bad: [
      '*',
      'null',
      'admin.example.com',
      'https://admin.example.com/',
      'https://admin.example.com/ui',
      'https://*.example.com',
      'https://ADMIN.example.com',
      'https://admin.example.com:443',
      'https://a.example https://b.example',
      'https://a.example,*',
      'ftp://admin.example.com'
    ]
  },
  FEDERATED_ISSUERS: {
    read: config => config.registrations.federatedIssuers,
    fallback: [],
    good: [
      ['https://token.actions.example', ['https://token.actions.example']],
      [' https://a.example/id/ ,\nhttp://localhost:8080, ', ['https://a.example/id/', 'http://localhost:8080']]
    ],
    bad: [
      ...BAD_URLS,
      'https://a.example https://b.example',
      'https://a.example?b',
      'https://a.example#b',
      'https://u:p@a.example',
      'https://a.example=',
      '=/etc/grantd/jwks.json',
      'http://a.example',
      'http://10.0.0.1',
      'https://a.example,https://b.example,https://a.example',
      'http://127.0.0.1:3000',
      'https://a.example=/nowhere/jwks.json',
      'https://a.example=/'
    ]
  },
  TRUSTED_PROXIES: {
    read: config => config.trustedProxies,
    fallback: [],
    good: [
      ['10.0.0.1', ['10.0.0.1']],
      ['10.0.0.0/8, fd00::/8,::1', ['10.0.0.0/8', 'fd00::/8', '::1']],
      ['192.0.2.1/32,2001:db8::1/128', ['192.0.2.1/32', '2001:db8::1/128']]
    ],
    bad: [
      'proxy.example.com',
      'abc',
      '10',
      '10.0.0',
      '10.0.0.256',
      '999.1.1.1',
      '::::',
      '10.0.0.0/33',
      '10.0.0.0/0',
      '10.0.0.0/',
      'fd00::/129',
      '10.0.0.0/8/8',
      '10.0.0.1,true',
      '*'
    ]
  },
  NOTICE_DAYS: {
    read: config => config.notices.steps,
    fallback: [30, 7, 0],
    good: [
      ['0', [0]],
      ['90, 30,7,1,0', [90, 30, 7, 1, 0]],
      ['0,365,14', [365, 14, 0]],
      ['10,9,8,7,6,5,4,3,2,1', [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]]
    ],
    bad: ['366', '-1', '7,7', '07,7', '1.5', 'a', '7,', ',', '7;0', '7 0', '10,9,8,7,6,5,4,3,2,1,0', '1e2', '0x10']
  },
  NOTICE_INTERVAL_SECONDS: whole(config => config.notices.intervalSeconds, 15, 1, 3_600),
  NOTICE_RETENTION_DAYS: whole(config => config.notices.retentionDays, 400, 0, 36_500),
  UNUSED_NOTICE_DAYS: whole(config => config.unused.noticeDays, 0, 0, 1_000),
  UNUSED_DISABLE_DAYS: {
    ...whole(config => config.unused.disableDays, 0, 0, 1_000),
    beside: { UNUSED_NOTICE_DAYS: '30' },
    good: [
      ['0', 0],
      ['37', 37],
      ['1000', 1_000]
    ]
  },
  NOTICE_WEBHOOK_URL: {
    beside: { NOTICE_WEBHOOK_SECRET: WEBHOOK_SECRET },
    read: config => config.notices.webhook?.url,
    fallback: undefined,
    good: ['https://hooks.example.com/grantd?x=1', 'http://127.0.0.1:8080/'].map(url => [url, url] as const),
    bad: [...BAD_URLS, 'http://hooks.example.com/', 'https://u:p@hooks.example.com', 'http://10.0.0.1/']
  },
  NOTICE_WEBHOOK_SECRET: {
    beside: { NOTICE_WEBHOOK_URL: 'https://hooks.example.com/' },
    read: config => config.notices.webhook?.secrets,
    fallback: undefined,
    good: [
      [WEBHOOK_SECRET, [WEBHOOK_SECRET]],
      [` ${WEBHOOK_SECRET}, ${OTHER_WEBHOOK_SECRET}`, [WEBHOOK_SECRET, OTHER_WEBHOOK_SECRET]],
      [`whsec_${'A'.repeat(32)}`, [`whsec_${'A'.repeat(32)}`]]
    ],
    bad: [
      'secret',
      'whsec_',
      `whsec_${randomBytes(23).toString('base64')}`,
      `whsec_${randomBytes(65).toString('base64')}`,
      WEBHOOK_SECRET.slice(6),
      WEBHOOK_SECRET.toUpperCase(),
      `${WEBHOOK_SECRET} ${WEBHOOK_SECRET}`,
      [WEBHOOK_SECRET, WEBHOOK_SECRET, WEBHOOK_SECRET].join(',')
    ]
  },
  NOTICE_WEBHOOK_ALLOW: {
    read: config => config.notices.allowed.items,
    fallback: [],
    good: [
      ['10.0.0.0/8, fd00::/8,::1', ['10.0.0.0/8', 'fd00::/8', '::1']],
      ['Hooks.Internal,localhost, 127.0.0.1', ['hooks.internal', 'localhost', '127.0.0.1']]
    ],
    bad: [
      'https://hooks.internal',
      'hooks.internal:8080',
      'a b',
      '*',
      '*.internal',
      '10.0.0.0/33',
      '10.0.0',
      '10.0.0.0/0',
      'a/b'
    ]
  },
  MAX_NOTICE_RECEIVERS_PER_SITE: whole(config => config.notices.maxReceiversPerSite, 20, 1, 1_000),
  SMTP_URL: {
    beside: { NOTICE_MAIL_FROM: 'grantd@example.com' },
    read: config => config.notices.mail?.smtpUrl,
    fallback: undefined,
    good: ['smtp://localhost:25', 'smtps://user:p%40ss@mail.example.com'].map(url => [url, url] as const),
    bad: ['mail.example.com', 'https://mail.example.com', 'smtp:', 'smtp://', 'smtp:///x', 'smtp://a:b:c:d']
  },
  NOTICE_MAIL_FROM: {
    beside: { SMTP_URL: 'smtp://localhost' },
    read: config => config.notices.mail?.from,
    fallback: undefined,
    good: ['grantd@example.com', 'grantd notices <no-reply@example.com>'].map(from => [from, from] as const),
    bad: [
      'grantd',
      '@example.com',
      'a@b@c',
      '<a@b.c>',
      'a@b.c, d@e.f',
      'x <a@b.c>, <d@e.f>',
      'a@-b',
      'a@b.c\r\nBcc: d@e.f'
    ]
  },
  NOTICE_MAIL_DOMAINS: {
    beside: { SMTP_URL: 'smtp://localhost', NOTICE_MAIL_FROM: 'grantd@example.com' },
    read: config => config.notices.mail?.domains,
    fallback: [],
    good: [['Example.com, mail.example.org', ['example.com', 'mail.example.org']]],
    bad: ['@example.com', 'ops@example.com', '*.example.com', 'example.com;x']
  },
  NOTICE_MAIL_TO: {
    beside: { SMTP_URL: 'smtp://localhost', NOTICE_MAIL_FROM: 'grantd@example.com' },
    read: config => config.notices.mailTo,
    fallback: [],
    good: [['ops@example.com, Security <sec@example.com>', ['ops@example.com', 'Security <sec@example.com>']]],
    bad: ['ops', 'ops@example.com;sec@example.com', 'ops@example.com sec@example.com', 'ops@']
  },
  GRANTD_URL: {
    read: config => config.called.url,
    fallback: undefined,
    good: ['https://grantd.example.com', 'http://127.0.0.1:3000/grantd/'].map(url => [url, url] as const),
    bad: [...BAD_URLS, 'https://a.example?b', 'https://a.example#b', 'https://u:p@a.example']
  },
  GRANTD_TOKEN: {
    read: config => config.called.token,
    fallback: undefined,
    good: [['eyJ.e30.c2ln', 'eyJ.e30.c2ln']],
    bad: ['eyJ\r\npart2', 'eyJ\npart2', 'eyJ…', 'eyJ part2', 'eyJ\u0000part2', 'é']
  }
}

t.test('this file tests every variable', async t => {
  t.same(
    Object.keys(VARIABLES).sort(),
    describeConfig()
      .map(({ name }) => name)
      .sort()
  )
})

for (const [name, { beside = {}, read, fallback, good, bad }] of Object.entries(VARIABLES)) {
  // [START-1]
  t.test(
    `${name}: good values are read, bad ones are refused by name, and the default applies when it is unset`,
    async t => {
      for (const [value, expected] of good) {
        t.same(read(loadConfig({ ...beside, [name]: value })), expected, JSON.stringify(value))
      }
      for (const value of bad) {
        const faults = faultsOf({ ...beside, [name]: value })
        t.equal(faults.length, 1, `${JSON.stringify(value)}: ${faults.join('; ')}`)
        t.match(faults[0], new RegExp(`^${name} must (be|differ) .{4,}`), 'the fault says what the value should be')
      }
      for (const value of ['', '  ', undefined]) {
        const without = name in ADMIN || TOGETHER.includes(name) ? {} : beside
        t.same(read(loadConfig({ ...without, [name]: value })), fallback, `unset as ${JSON.stringify(value)}`)
      }
    }
  )
}

t.test('all faults are reported at once, each with its variable', async t => {
  const environment = Object.fromEntries(
    Object.entries(VARIABLES).flatMap(
      ([
        name,
        {
          bad: [value]
        }
      ]) => (value === undefined ? [] : [[name, value]])
    )
  )
  // An ADMIN_ISSUER that is not an https URL is a text, which needs its audience.
  const error = caught(() => loadConfig({ ADMIN_AUDIENCE: 'grantd-admin', ...environment }))
  if (!(error instanceof ConfigError)) throw error
  const named = error.faults.map(fault => fault.split(' ', 1)[0])
  t.same(named.toSorted(), Object.keys(environment).toSorted(), 'one fault each')
  for (const fault of error.faults) t.match(error.message, fault)
})

t.test('no message repeats a value of a secret', async t => {
  const canary = 'CANARY-5f1d7c'
  const secrets = describeConfig().filter(({ isSecret }) => isSecret)
  t.same(secrets.map(({ name }) => name).sort(), [
    'DATABASE_URL',
    'GRANTD_TOKEN',
    'KEY_ENCRYPTION_KEY',
    'KEY_ENCRYPTION_KEY_PREVIOUS',
    'MIGRATION_DATABASE_URL',
    'NOTICE_WEBHOOK_SECRET',
    'SMTP_URL'
  ])
  const file = path.join(temporaryFolder(t), 'secret')
  const values = [canary, `postgresql://grantd:${canary}@[db/grantd`, `mysql://grantd:${canary}@db`, `whsec_${canary}`]
  for (const { name } of secrets) {
    for (const text of values) {
      // Any one line may be a token.
      const value = name === 'GRANTD_TOKEN' ? `${text}\r\npart2` : text
      writeFileSync(file, value)
      for (const environment of [
        { [name]: value },
        { [`${name}_FILE`]: file },
        { [name]: value, [`${name}_FILE`]: file }
      ]) {
        for (const rest of [{}, { NODE_ENV: 'production' }]) {
          const error = caught(() => loadConfig({ ...environment, ...rest }))
          if (!(error instanceof ConfigError)) throw error
          t.match(error.message, name)
          t.notMatch(JSON.stringify([error.message, error.faults, error.stack, String(error.cause)]), canary)
        }
      }
    }
  }
})

t.test('a secret may come from the file that NAME_FILE names', async t => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'secret')
  const url = 'postgresql://grantd:secret@db.example.com/grantd'
  writeFileSync(file, `${url}\n`)
  t.equal(loadConfig({ DATABASE_URL_FILE: file }).database.url, url)
  t.equal(loadConfig({ MIGRATION_DATABASE_URL_FILE: file }).database.migrationUrl, url)
  writeFileSync(file, `${KEY.toString('base64')}\n`)
  t.same(loadConfig({ KEY_ENCRYPTION_KEY_FILE: file }).keyEncryptionKey, KEY)
  t.same(faultsOf({ ...PRODUCTION, KEY_ENCRYPTION_KEY: '', KEY_ENCRYPTION_KEY_FILE: file }), [], 'in production too')
})

t.test('NAME_FILE is a fault of NAME when the file is missing, malformed, or given beside NAME', async t => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'secret')
  writeFileSync(file, 'changeme')
  chmodSync(file, 0o600)
  mkdirSync(path.join(folder, 'folder'))
  for (const environment of [
    { KEY_ENCRYPTION_KEY_FILE: path.join(folder, 'absent') },
    { KEY_ENCRYPTION_KEY_FILE: path.join(folder, 'folder') },
    { KEY_ENCRYPTION_KEY_FILE: file },
    { KEY_ENCRYPTION_KEY_FILE: file, KEY_ENCRYPTION_KEY: KEY.toString('hex') }
  ]) {
    const faults = faultsOf(environment)
    t.equal(faults.length, 1)
    t.match(faults[0], /^KEY_ENCRYPTION_KEY must be /)
  }
  t.match(faultsOf({ KEY_ENCRYPTION_KEY_FILE: path.join(folder, 'absent') })[0], 'KEY_ENCRYPTION_KEY_FILE')
})

t.test('a variable that is not a secret cannot come from a file', async t => {
  const file = path.join(temporaryFolder(t), 'port')
  writeFileSync(file, '4000')
  t.equal(loadConfig({ PORT_FILE: file }).port, 3_000)
})

t.test('without any variable, grantd runs in development mode on loopback with the embedded database', async t => {
  const config = loadConfig({})
  t.match(config, {
    isProduction: false,
    host: '127.0.0.1',
    port: 3_000,
    issuer: 'http://127.0.0.1:3000',
    dataFolder: path.resolve('data'),
    database: { url: undefined, migrationUrl: undefined, folder: path.resolve('data/postgres') },
    keyEncryptionKey: undefined,
    tokens: { signingAlgorithm: 'ES256', audience: 'http://127.0.0.1:3000', ttlSeconds: 900 },
    admin: { identityProvider: undefined, corsOrigins: [] }
  })
  t.ok(Object.isFrozen(config))
})

t.test('ISSUER is http://HOST:PORT by default, with an IPv6 host in brackets (RFC 3986 §3.2.2)', async t => {
  t.equal(loadConfig({ HOST: 'localhost', PORT: '8080' }).issuer, 'http://localhost:8080')
  t.equal(loadConfig({ HOST: '::1' }).issuer, 'http://[::1]:3000')
  t.equal(loadConfig({ HOST: '::', PORT: '1' }).issuer, 'http://[::]:1')
  t.equal(loadConfig({ HOST: '::1', ISSUER: 'https://grantd.example.com' }).issuer, 'https://grantd.example.com')
  t.equal(loadConfig({ HOST: '::1' }).tokens.audience, 'http://[::1]:3000')
})

t.test('migrations use DATABASE_URL unless MIGRATION_DATABASE_URL is set', async t => {
  const url = 'postgresql://grantd@db/grantd'
  const owner = 'postgresql://owner@db/grantd'
  t.match(loadConfig({ DATABASE_URL: url }).database, { url, migrationUrl: url })
  t.match(loadConfig({ DATABASE_URL: url, MIGRATION_DATABASE_URL: owner }).database, { url, migrationUrl: owner })
})

t.test('ADMIN_ISSUER needs an audience, and ADMIN_JWKS_URI an issuer', async t => {
  t.match(faultsOf({ ADMIN_ISSUER: ADMIN.ADMIN_ISSUER }), [/^ADMIN_AUDIENCE must be set/])
  t.match(faultsOf({ ADMIN_JWKS_URI: 'https://identity.example.com/keys' }), [/^ADMIN_ISSUER must be set/])
})

t.test('ADMIN_ISSUER cannot be grantd itself, because an access token is never an admin token', async t => {
  const { ISSUER } = PRODUCTION
  t.match(faultsOf({ ...ADMIN, ISSUER, ADMIN_ISSUER: ISSUER }), [/^ADMIN_ISSUER must differ from ISSUER/])
  t.match(faultsOf({ ...ADMIN, ADMIN_ISSUER: 'http://127.0.0.1:3000' }), [/^ADMIN_ISSUER must differ from ISSUER/])
})

t.test('FEDERATED_ISSUERS names the file of the keys of an issuer after an equals sign', async t => {
  const keyFile = path.join(temporaryFolder(t), 'key set.json')
  writeFileSync(keyFile, JSON.stringify({ keys: [PUBLIC_KEY] }))
  const config = loadConfig({ FEDERATED_ISSUERS: `https://a.example=${keyFile}, https://b.example` })
  t.same(config.federation.issuers, [
    { issuer: 'https://a.example', keyFile },
    { issuer: 'https://b.example', keyFile: undefined }
  ])
})

t.test('every fault of FEDERATED_ISSUERS is reported at once, and each names its issuer or file', async t => {
  const { ISSUER } = PRODUCTION
  const faults = faultsOf({
    ...PRODUCTION,
    FEDERATED_ISSUERS: `http://a.example, http://localhost=/nowhere/jwks.json, ${ISSUER}, https://c.example, https://c.example`
  })
  t.equal(faults.length, 5)
  for (const fault of faults) t.match(fault, /^FEDERATED_ISSUERS must be /)
  for (const named of ['http://a.example', 'http://localhost', '/nowhere/jwks.json', 'ISSUER', 'https://c.example']) {
    t.ok(
      faults.some(fault => fault.includes(named)),
      named
    )
  }
})

t.test('FEDERATED_ISSUERS may name the ADMIN_ISSUER, which is trusted for workloads only then', async t => {
  const { ADMIN_ISSUER } = ADMIN
  t.same(loadConfig({ ...PRODUCTION }).registrations.federatedIssuers, [])
  t.same(loadConfig({ ...PRODUCTION, FEDERATED_ISSUERS: ADMIN_ISSUER }).registrations.federatedIssuers, [ADMIN_ISSUER])
})

t.test('an ADMIN_ISSUER works with the embedded database, also on loopback over plain http', async t => {
  const config = loadConfig({ ...ADMIN, ADMIN_ISSUER: 'http://localhost:8080' })
  t.equal(config.database.url, undefined)
  t.match(config.admin.identityProvider, { issuer: 'http://localhost:8080', allowsLoopback: true })
})

t.test('a webhook needs its secret, and mail its server and its sender', async t => {
  t.match(faultsOf({ NOTICE_WEBHOOK_URL: 'https://hooks.example.com' }), [/^NOTICE_WEBHOOK_SECRET must be set/])
  t.match(faultsOf({ SMTP_URL: 'smtp://localhost' }), [/^NOTICE_MAIL_FROM must be set/])
  t.match(faultsOf({ NOTICE_MAIL_TO: 'ops@example.com' }), [/^SMTP_URL must be set/])
  const mail = {
    SMTP_URL: 'smtp://localhost',
    NOTICE_MAIL_FROM: 'grantd@example.com',
    NOTICE_MAIL_DOMAINS: 'example.com'
  }
  t.same(faultsOf({ ...mail, NOTICE_MAIL_TO: 'Ops <ops@Example.com>' }), [])
  t.match(faultsOf({ ...mail, NOTICE_MAIL_TO: 'ops@example.com, eve@evil.example' }), [
    /^NOTICE_MAIL_TO .* NOTICE_MAIL_DOMAINS/
  ])
})

t.test('production refuses a webhook over plain http, also on loopback, and sends none there', async t => {
  for (const url of ['http://localhost:8080', 'http://hooks.example.com']) {
    const faults = faultsOf({ ...PRODUCTION, NOTICE_WEBHOOK_URL: url, NOTICE_WEBHOOK_SECRET: WEBHOOK_SECRET })
    t.match(faults, [/^NOTICE_WEBHOOK_URL must be an https URL/], url)
  }
  t.equal(loadConfig(PRODUCTION).notices.allowed.allowsPlainHttp, false)
  t.equal(loadConfig({}).notices.allowed.allowsPlainHttp, true)
})

t.test('production accepts a complete configuration', async t => {
  const config = loadConfig(PRODUCTION)
  t.ok(config.isProduction)
  t.match(config.admin.identityProvider, { issuer: ADMIN.ADMIN_ISSUER, allowsLoopback: false })
})

// [START-2]
t.test('production refuses development mode, the embedded database and a generated key, all at once', async t => {
  const faults = faultsOf({ NODE_ENV: 'production' })
  t.equal(faults.length, 4)
  for (const name of ['DATABASE_URL', 'KEY_ENCRYPTION_KEY', 'ADMIN_ISSUER', 'ADMIN_AUDIENCE']) {
    t.ok(
      faults.some(fault => fault.startsWith(`${name} must be set in production`)),
      name
    )
  }
  for (const name of ['DATABASE_URL', 'KEY_ENCRYPTION_KEY', 'ADMIN_ISSUER', 'ADMIN_AUDIENCE'] as const) {
    const alone = faultsOf({ ...PRODUCTION, [name]: undefined })
    t.equal(alone.length, 1)
    t.match(alone[0], new RegExp(`^${name} must be set`))
  }
})

t.test('production refuses ADMIN_ISSUER and ADMIN_JWKS_URI over plain http, also on loopback', async t => {
  for (const url of ['http://localhost:8080', 'http://127.0.0.1', 'http://[::1]', 'http://identity.example.com']) {
    t.match(faultsOf({ ...PRODUCTION, ADMIN_ISSUER: url }), [/^ADMIN_ISSUER must be an https URL.*ADMIN_JWKS_URI/], url)
    t.match(faultsOf({ ...PRODUCTION, ADMIN_JWKS_URI: url }), [/^ADMIN_JWKS_URI must be an https URL/], url)
  }
})

t.test('with an https ADMIN_JWKS_URI, ADMIN_ISSUER may be any text, because nothing is fetched from it', async t => {
  for (const issuer of ['http://identity.example.com/x', 'accounts.google.com', 'urn:acme:identity']) {
    const config = loadConfig({
      ...PRODUCTION,
      ADMIN_ISSUER: issuer,
      ADMIN_JWKS_URI: 'https://identity.example.com/keys'
    })
    t.equal(config.admin.identityProvider?.issuer, issuer)
    t.match(faultsOf({ ...PRODUCTION, ADMIN_ISSUER: issuer }), [/^ADMIN_ISSUER must be .*ADMIN_JWKS_URI/], issuer)
  }
})

t.test('production refuses an ISSUER over plain http that other machines can reach (RFC 8414 §2)', async t => {
  t.match(faultsOf({ ...PRODUCTION, ISSUER: 'http://grantd.example.com' }), [/^ISSUER must be an https URL/])
  t.match(faultsOf({ ...PRODUCTION, ISSUER: undefined, HOST: '0.0.0.0' }), [/^ISSUER must be an https URL/])
})

t.test('a malformed value is one fault, and not also a missing one', async t => {
  for (const [name, value] of [
    ['KEY_ENCRYPTION_KEY', 'changeme'],
    ['DATABASE_URL', 'mysql://db'],
    ['ADMIN_ISSUER', 'identity'],
    ['ISSUER', 'grantd']
  ] as const) {
    const faults = faultsOf({ ...PRODUCTION, [name]: value })
    t.equal(faults.length, 1, faults.join('; '))
    t.match(faults[0], new RegExp(`^${name} must be `))
  }
})

// [START-3]
t.test('the process refuses to start, with every fault on standard error and no secret in it', async t => {
  const canary = 'CANARY-5f1d7c'
  const run = promisify(execFile)(process.execPath, ['src/commands/start.ts'], {
    cwd: ROOT,
    env: { NODE_ENV: 'production', PORT: '0', KEY_ENCRYPTION_KEY: canary, DATABASE_URL: `mysql://u:${canary}@db` }
  })
  const error = await run.catch(thrown => thrown)
  t.equal(error.code, 1)
  t.equal(error.stdout, '')
  for (const name of ['PORT', 'KEY_ENCRYPTION_KEY', 'DATABASE_URL', 'ADMIN_ISSUER']) {
    t.match(error.stderr, new RegExp(`^  ${name} must be `, 'm'))
  }
  t.notMatch(error.stderr, canary)
})

t.test('migrations only need the database, also in production', async t => {
  const production = { NODE_ENV: 'production', DATABASE_URL: 'postgresql://grantd@localhost/grantd' }
  t.equal(loadConfig(production, 'migrate').database.migrationUrl, production.DATABASE_URL)
  t.throws(() => loadConfig(production, 'serve'), /KEY_ENCRYPTION_KEY/)
  t.throws(() => loadConfig({ NODE_ENV: 'production' }, 'migrate'), /DATABASE_URL must be set/)
})

t.test('a METRICS_PORT that Kubernetes sets for a Service is ignored with a warning that names the cure', async t => {
  const config = loadConfig({ METRICS_PORT: 'tcp://10.96.12.7:9464' })
  t.equal(config.metricsPort, 9_464)
  t.equal(config.warnings.length, 1)
  t.match(config.warnings[0], /^METRICS_PORT is ignored.*Kubernetes.*enableServiceLinks/)
  t.same(loadConfig({ METRICS_PORT: '9999' }).warnings, [])
})

t.test('production warns of a connection to Postgres over a network without TLS', async t => {
  const warningsOf = (DATABASE_URL: string) => loadConfig({ ...PRODUCTION, DATABASE_URL }).warnings
  for (const url of [
    'postgresql://grantd@db.example.com/grantd',
    'postgresql://grantd@db.example.com/grantd?sslmode=disable',
    'postgresql://grantd@localhost,db.example.com/grantd',
    'postgresql://grantd@localhost/grantd?host=db.example.com'
  ]) {
    t.match(warningsOf(url), [/^DATABASE_URL .*sslmode=verify-full/], url)
  }
  for (const url of [
    'postgresql://grantd@db.example.com/grantd?sslmode=verify-full',
    'postgresql://grantd@db.example.com/grantd?sslmode=require&sslrootcert=/ca.pem',
    'postgresql://grantd@localhost/grantd',
    'postgresql://grantd@[::1]:5432/grantd',
    'postgresql://grantd@/grantd?host=/run/postgresql',
    'postgresql:///grantd?host=%2Frun%2Fpostgresql'
  ]) {
    t.same(warningsOf(url), [], url)
  }
  t.same(loadConfig({ DATABASE_URL: 'postgresql://grantd@db.example.com/grantd' }).warnings, [], 'development')
})

t.test('unused registrations are disabled at least 7 days after their notice, and both are off by default', async t => {
  const policy = (notice: string, disable: string) =>
    loadConfig({ UNUSED_NOTICE_DAYS: notice, UNUSED_DISABLE_DAYS: disable }).unused
  t.same(loadConfig({}).unused, { noticeDays: 0, disableDays: 0 })
  t.same(policy('30', '37'), { noticeDays: 30, disableDays: 37 })
  t.same(policy('30', '0'), { noticeDays: 30, disableDays: 0 })
  t.throws(() => policy('30', '36'), { message: /UNUSED_DISABLE_DAYS must be at least 7 days longer/ })
  t.throws(() => policy('0', '30'), { message: /UNUSED_NOTICE_DAYS must be set/ })
})

import t from 'tap'
import { eventsBetween } from '../../src/registrations/history.ts'

const registration = {
  client_id: 'k3v9x2m7q1w8z5t4r6y0',
  site_id: 'acme',
  name: 'billing',
  name_folded: 'billing',
  scopes: ['devices:read'],
  enabled: true,
  registered_at: new Date('2026-11-23T09:00:00.000Z'),
  expires_at: new Date('2027-01-01T00:00:00.000Z'),
  expiry_set_at: new Date('2026-11-23T09:00:00.000Z'),
  version: 1,
  disabled_reason: null,
  token_lifetime_seconds: null,
  dpop_bound: false,
  may_introspect: false,
  tokens_valid_from: null,
  self_rotation: false,
  unclaimed: false,
  key: null,
  credential_number: 1,
  audiences: ['https://devices.example'],
  credential: null,
  secret_created_at: new Date('2026-11-23T09:00:00.000Z'),
  previous_credential: null,
  previous_secret_created_at: null,
  previous_secret_expires_at: null,
  odd_credential_used_at: null,
  even_credential_used_at: null,
  last_used_at: null,
  exchange_count: 0,
  may_idle: false,
  enabled_at: null,
  unused_noticed_at: null
}
const later = new Date('2027-06-01T00:00:00.000Z')
const earlier = new Date('2026-12-01T00:00:00.000Z')
const expiry = (to: Date) => ({ expiresAt: { from: '2027-01-01T00:00:00.000Z', to: to.toISOString() } })

t.test('creating and deleting record every field', async t => {
  const [created, ...more] = eventsBetween(undefined, registration)
  t.same(more, [])
  t.same(created, {
    action: 'registration.created',
    changes: {
      name: { from: null, to: 'billing' },
      expiresAt: { from: null, to: '2027-01-01T00:00:00.000Z' },
      enabled: { from: null, to: true },
      scopes: { from: null, to: ['devices:read'] },
      audiences: { from: null, to: ['https://devices.example'] },
      dpopBound: { from: null, to: false },
      mayIntrospect: { from: null, to: false },
      mayIdle: { from: null, to: false },
      selfRotation: { from: null, to: false },
      credential: { from: null, to: { kind: 'secret', createdAt: '2026-11-23T09:00:00.000Z' } }
    }
  })
  const [deleted] = eventsBetween(registration, undefined)
  t.equal(deleted?.action, 'registration.deleted')
  t.same(deleted?.changes['name'], { from: 'billing', to: null })
})

t.test('moving the expiry forward is recorded as a renewal, moving it back as a change', async t => {
  for (const [change, events] of [
    [{ expires_at: later }, [{ action: 'registration.renewed', changes: expiry(later) }]],
    [{ expires_at: earlier }, [{ action: 'registration.changed', changes: expiry(earlier) }]],
    [{ enabled: false }, [{ action: 'registration.changed', changes: { enabled: { from: true, to: false } } }]],
    [
      { expires_at: later, name: 'b', scopes: [] },
      [
        { action: 'registration.renewed', changes: expiry(later) },
        {
          action: 'registration.changed',
          changes: { name: { from: 'billing', to: 'b' }, scopes: { from: ['devices:read'], to: [] } }
        }
      ]
    ],
    [
      { expires_at: earlier, name: 'b' },
      [
        {
          action: 'registration.changed',
          changes: { name: { from: 'billing', to: 'b' }, ...expiry(earlier) }
        }
      ]
    ]
  ] as const) {
    t.same(
      eventsBetween(registration, {
        ...registration,
        ...change,
        scopes: [...('scopes' in change ? change.scopes : registration.scopes)]
      }),
      events
    )
  }
})

t.test('a renewal after the expiry records the cut-off of tokens, unless enabling has moved it', async t => {
  const cutOff = { tokensValidFrom: { from: null, to: '2027-01-01T00:00:00.000Z' } }
  const renewed = { ...registration, expires_at: later, tokens_valid_from: new Date('2027-01-01') }
  t.same(eventsBetween(registration, renewed), [
    { action: 'registration.renewed', changes: { ...expiry(later), ...cutOff } }
  ])
  t.same(eventsBetween({ ...registration, enabled: false }, renewed), [
    { action: 'registration.renewed', changes: expiry(later) },
    { action: 'registration.changed', changes: { enabled: { from: false, to: true }, ...cutOff } }
  ])
})

t.test('disabling and enabling record the cut-off of tokens that comes with them', async t => {
  const tokens_valid_from = new Date('2026-11-23T09:05:13.000Z')
  t.same(eventsBetween(registration, { ...registration, enabled: false, tokens_valid_from }), [
    {
      action: 'registration.changed',
      changes: {
        enabled: { from: true, to: false },
        tokensValidFrom: { from: null, to: '2026-11-23T09:05:13.000Z' }
      }
    }
  ])
})

t.test('without a change of a field there is no event, and other columns are never recorded', async t => {
  t.same(eventsBetween(registration, { ...registration, version: 2, last_used_at: later }), [])
  const row = { ...registration, secret_hash: '$argon2id$canary', name_folded: 'canary' }
  t.notMatch(JSON.stringify(eventsBetween(undefined, row)), /canary/)
})

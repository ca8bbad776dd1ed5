import t from 'tap'
import { Clock, signAdminToken, startApp } from '../fixtures/app/app.ts'
import { query } from '../fixtures/app/database.ts'
import type { Grantd, Json } from '../fixtures/app/grantd.ts'
import { inDays } from '../fixtures/app/registration.ts'

const EVENTS = '/v1/sites/acme/audit-events'

async function eventsOf(grantd: Grantd, path = EVENTS): Promise<Json[]> {
  const answer = await grantd.asAdmin('GET', path)
  if (answer.status !== 200) throw new Error(answer.text)
  return answer.json().items
}

/** What was done, the oldest first. */
async function actionsOf(grantd: Grantd, path = EVENTS): Promise<[string, Json][]> {
  return (await eventsOf(grantd, path)).toReversed().map(({ action, changes }) => [action, changes])
}

// [AUDIT-2]
t.test('each change of a registration is an event with actor, action, time, request and source', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now, environment: { TRUSTED_PROXIES: '127.0.0.1' } })
  const expiresAt = inDays(10, clock.time)
  const { path, clientId, clientSecret } = await grantd.register({ name: 'billing', expiresAt, scopes: ['a'] })
  clock.advance(1_000)
  await grantd.asAdmin('PATCH', path, {
    body: { name: 'billing 2', enabled: true },
    headers: {
      authorization: `Bearer ${await signAdminToken(['acme'], clock.time, 'grace')}`,
      'x-request-id': 'req-7',
      'x-forwarded-for': '192.0.2.7'
    }
  })
  clock.advance(1_000)
  await grantd.asAdmin('DELETE', path)
  const events = await eventsOf(grantd)
  t.match(events, [
    {
      sequence: 3,
      action: 'registration.deleted',
      changes: {
        name: { from: 'billing 2', to: null },
        expiresAt: { from: expiresAt, to: null },
        enabled: { from: true, to: null },
        scopes: { from: ['a'], to: null }
      }
    },
    {
      sequence: 2,
      occurredAt: '2026-11-23T09:00:01.000Z',
      action: 'registration.changed',
      subject: clientId,
      actor: 'grace',
      actorIssuer: 'https://identity.example.com',
      requestId: 'req-7',
      source: '192.0.2.7',
      changes: { name: { from: 'billing', to: 'billing 2' } },
      hash: /^[0-9a-f]{64}$/
    },
    {
      sequence: 1,
      occurredAt: '2026-11-23T09:00:00.000Z',
      action: 'registration.created',
      subject: clientId,
      actor: 'ada',
      source: '127.0.0.1',
      changes: {
        name: { from: null, to: 'billing' },
        expiresAt: { from: null, to: expiresAt },
        enabled: { from: null, to: true },
        scopes: { from: null, to: ['a'] }
      }
    }
  ])
  t.same(Object.keys(events[1].changes), ['name'], 'what stayed as it was is no change')
  const rows = JSON.stringify(await query(grantd.databaseUrl, 'select * from audit_events'))
  t.notMatch(rows, /argon2|grantd_/)
  t.notOk(rows.includes(clientSecret.slice(7, 30)))
})

t.test('a renewal is an event of its own beside the other changes of the same request', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const [first, second, third] = [inDays(10, clock.time), inDays(90, clock.time), inDays(30, clock.time)]
  const { path } = await grantd.register({ name: 'a', expiresAt: first })
  const disabled = await grantd.asAdmin('PATCH', path, {
    body: { name: 'b', expiresAt: second, enabled: false },
    headers: { 'x-request-id': 'both' }
  })
  await grantd.asAdmin('PATCH', path, { body: { expiresAt: third } })
  const [, ...actions] = await actionsOf(grantd)
  t.same(actions, [
    ['registration.renewed', { expiresAt: { from: first, to: second } }],
    [
      'registration.changed',
      {
        name: { from: 'a', to: 'b' },
        enabled: { from: true, to: false },
        tokensValidFrom: { from: null, to: disabled.json().tokensValidFrom }
      }
    ],
    // Nobody is renewed by losing time.
    ['registration.changed', { expiresAt: { from: second, to: third } }]
  ])
  const both = (await eventsOf(grantd)).filter(({ requestId }) => requestId === 'both')
  t.equal(both.length, 2)
})

t.test('a request that changes nothing, is refused or fails leaves no event', async t => {
  const clock = new Clock()
  const environment = { MAX_REGISTRATIONS_PER_SITE: '1' }
  const grantd = await startApp(t, { now: clock.now, environment })
  const { path } = await grantd.register({ name: 'a' })
  const expiresAt = inDays(10, clock.time)
  for (const [method, url, body, headers, status] of [
    ['PATCH', path, { name: 'a' }, {}, 200],
    ['PATCH', path, { name: '' }, {}, 400],
    ['PATCH', path, { name: 'b' }, { 'if-match': '"9"' }, 412],
    ['DELETE', path, undefined, { 'if-match': '"9"' }, 412],
    ['DELETE', '/v1/sites/acme/app-registrations/00000000000000000000', undefined, {}, 404],
    ['POST', '/v1/sites/acme/app-registrations', { name: 'b', expiresAt }, {}, 409],
    ['POST', '/v1/sites/acme/app-registrations', { name: 'b', expiresAt: 'x' }, {}, 400]
  ] as const) {
    t.equal((await grantd.asAdmin(method, url, { body, headers })).status, status, `${method} ${status}`)
  }
  t.equal((await grantd.requestToken({ client_id: 'x', client_secret: 'y' })).status, 401, 'nor does a stranger')
  t.same(
    (await actionsOf(grantd)).map(([action]) => action),
    ['registration.created']
  )
})

t.test("another Site's events never show: not in its list, by no filter, by no cursor", async t => {
  const grantd = await startApp(t)
  const foreign = await grantd.register({ name: 'theirs' }, 'umbrella')
  await grantd.register({ name: 'theirs too' }, 'umbrella')
  await grantd.register({ name: 'ours' })
  const asAcme = (path: string) => grantd.asAdmin('GET', path, { sites: ['acme'] })
  for (const filter of ['', `?clientId=${foreign.clientId}`, '?actor=ada', '?action=registration.created']) {
    const answer = await asAcme(EVENTS + filter)
    t.equal(answer.status, 200)
    t.notMatch(answer.text, /theirs|umbrella/, filter)
  }
  t.equal((await asAcme('/v1/sites/umbrella/audit-events')).status, 404)
  t.equal((await asAcme('/v1/audit-events')).status, 403)
  t.equal((await asAcme(`${EVENTS}?siteId=umbrella`)).status, 400, 'a Site is named by the path alone')
  const { nextCursor } = (await grantd.asAdmin('GET', '/v1/sites/umbrella/audit-events?limit=1')).json()
  t.equal((await asAcme(`${EVENTS}?limit=1&cursor=${nextCursor}`)).status, 400)
  t.same(
    (await eventsOf(grantd, '/v1/audit-events')).map(({ siteId }) => siteId),
    ['acme', 'umbrella', 'umbrella'],
    'a Global Administrator sees all'
  )
  t.same(
    (await eventsOf(grantd, '/v1/audit-events?siteId=umbrella')).map(({ siteId }) => siteId),
    ['umbrella', 'umbrella']
  )
})

t.test('pages hold every event once, the newest first, in one Site and over all', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  for (let index = 0; index < 12; index++) {
    await grantd.register({ name: `n${index}` }, index % 3 === 0 ? 'umbrella' : 'acme')
    // Several within one millisecond.
    if (index % 4 === 3) clock.advance(1)
  }
  for (const [path, count] of [
    [EVENTS, 8],
    ['/v1/audit-events', 12],
    ['/v1/audit-events?siteId=umbrella', 4],
    [`${EVENTS}?action=registration.created`, 8],
    ['/v1/audit-events?actor=ada', 12]
  ] as const) {
    const separator = path.includes('?') ? '&' : '?'
    const all = await eventsOf(grantd, `${path}${separator}limit=200`)
    const paged: Json[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const position: string = cursor === '' ? '' : `&cursor=${cursor}`
      const page: Json = (await grantd.asAdmin('GET', `${path}${separator}limit=3${position}`)).json()
      t.ok(page.items.length <= 3)
      paged.push(...page.items)
      cursor = page.nextCursor
    }
    t.equal(paged.length, count, path)
    t.same(paged, all)
    const instants = paged.map(({ occurredAt }) => occurredAt)
    t.same(instants, instants.toSorted().toReversed())
  }
})

t.test('filters: clientId, actor, action, from (at or after), to (before)', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const first = await grantd.register({ name: 'first' })
  clock.advance(1_000)
  const second = await grantd.register({ name: 'second' })
  clock.advance(1_000)
  const authorization = `Bearer ${await signAdminToken(['acme'], clock.time, 'grace \u{1F600}')}`
  await grantd.asAdmin('PATCH', first.path, { body: { enabled: false }, headers: { authorization } })
  for (const path of [EVENTS, '/v1/audit-events']) {
    for (const [filter, sequences] of [
      [`clientId=${first.clientId}`, [3, 1]],
      [`clientId=${second.clientId}`, [2]],
      [`actor=${encodeURIComponent('grace \u{1F600}')}`, [3]],
      ['actor=nobody', []],
      ['action=registration.created', [2, 1]],
      ['action=receiver.created', []],
      ['from=2026-11-23T09:00:01.000Z', [3, 2]],
      ['to=2026-11-23T09:00:01.000Z', [1]],
      [`from=${encodeURIComponent('2026-11-23T10:00:01+01:00')}&to=2026-11-23T09:00:01.001Z`, [2]],
      [`actor=ada&action=registration.created&clientId=${first.clientId}`, [1]]
    ] as const) {
      t.same(
        (await eventsOf(grantd, `${path}?${filter}`)).map(({ sequence }) => sequence),
        sequences,
        `${path} ${filter}`
      )
    }
  }
})

t.test('a bad query is refused with the parameter named', async t => {
  const grantd = await startApp(t)
  for (const [filter, parameter] of [
    ['limit=0', 'limit'],
    ['limit=201', 'limit'],
    ['limit=x', 'limit'],
    ['cursor=x', 'cursor'],
    ['cursor=', 'cursor'],
    ['from=yesterday', 'from'],
    ['to=2026-02-30T00:00:00Z', 'to'],
    ['action=Registration.created', 'action'],
    ['actor=', 'actor'],
    ['actor=a%00b', 'actor'],
    ['clientId=%F0%9F%98%80', 'clientId'],
    ['subject=x', 'subject']
  ] as const) {
    for (const path of [EVENTS, '/v1/audit-events']) {
      const answer = await grantd.asAdmin('GET', `${path}?${filter}`)
      t.equal(answer.status, 400, filter)
      t.match(answer.json(), { errors: [{ parameter }] }, filter)
    }
  }
})

t.test('a change is made and recorded for any name of an administrator', async t => {
  const grantd = await startApp(t)
  for (const [subject, actor] of [
    ['nul \0 here', 'nul \ufffd here'],
    ['half \ud800', 'half \ufffd'],
    ['x'.repeat(5_000), 'x'.repeat(255)],
    [`${'x'.repeat(254)}\u{1F600}`, `${'x'.repeat(254)}\ufffd`]
  ] as const) {
    const answer = await grantd.asAdmin('POST', '/v1/sites/acme/app-registrations', {
      body: { name: 'x', expiresAt: inDays(10, Date.now()) },
      headers: { authorization: `Bearer ${await signAdminToken(['acme'], Date.now(), subject)}` }
    })
    t.equal(answer.status, 201)
    t.equal((await eventsOf(grantd))[0].actor, actor)
  }
})

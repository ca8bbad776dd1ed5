import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { AddressGuard } from '../../src/notifications/channels/address-guard.ts'
import { createResolve } from '../../src/notifications/channels/resolve.ts'
import { startApp } from '../fixtures/app/app.ts'
import { query } from '../fixtures/app/database.ts'
import type { Answer } from '../fixtures/app/grantd.ts'
import { startNameServer } from '../fixtures/peers/name-server.ts'
import { portOf, startWebhookReceiver } from '../fixtures/peers/webhook-receiver.ts'

/** A Site administrator uses webhooks to reach what only the machine of grantd can reach (SSRF). */

const RECEIVERS = '/v1/sites/acme/notice-receivers'
/** An address of this machine that no setting allows. */
const VICTIM = '127.0.0.2'

/** An instance that asks its own name server, and a victim that counts its connections. */
async function startTarget(t: Test, environment = {}) {
  const names = new Map<string, string>()
  const nameServer = await startNameServer(t, names)
  const resolve = createResolve(new AddressGuard({ items: [], allowsPlainHttp: true }), [nameServer])
  const grantd = await startApp(t, { environment, resolve })
  let connections = 0
  const victim = createServer(socket => {
    connections++
    socket.destroy()
  })
  const { promise, resolve: listening } = Promise.withResolvers<void>()
  victim.listen(0, VICTIM, listening)
  await promise
  t.teardown(() => victim.close())
  const create = (url: string): Promise<Answer> =>
    grantd.asAdmin('POST', RECEIVERS, { body: { kind: 'webhook', url }, sites: ['acme'] })
  const test = async (path: string) => (await grantd.asAdmin('POST', `${path}/test`, { sites: ['acme'] })).json()
  return { grantd, names, port: portOf(victim.address()), connections: () => connections, create, test }
}

// [NOTICE-14]
t.test('a webhook to a loopback, private or link-local address is refused in every spelling (OWASP SSRF)', async t => {
  const { grantd, port, connections, create } = await startTarget(t)
  const made = await create('https://8.8.8.8/')
  t.equal(made.status, 201)
  for (const host of [
    ...[VICTIM, '127.2', '2130706434', '0x7f000002', '0177.0.0.2', '0x7f.0.0.0x2', '127.0.0.2.', '①②⑦.0.0.2'],
    ...['%31%32%37.0.0.2', '[::ffff:127.0.0.2]', '[::ffff:7f00:2]', '[::127.0.0.2]', '[0:0:0:0:0:ffff:7f00:2]'],
    ...[
      '[64:ff9b::127.0.0.2]',
      '[2002:7f00:2::]',
      '[::1]',
      '[::]',
      '0',
      '0.0.0.0',
      'localhost',
      'LOCALHOST',
      'a.localhost.'
    ],
    ...['10.0.0.1', '10.1', '172.16.0.1', '192.168.0.1', '192.168.257', '100.64.0.1', '[fc00::1]', '[fd12:3456::1]'],
    ...[
      '169.254.169.254',
      '0xa9fea9fe',
      '2852039166',
      '[fe80::1]',
      '[fd00:ec2::254]',
      '168.63.129.16',
      '[::ffff:a9fe:a9fe]'
    ],
    ...['224.0.0.1', '255.255.255.255', '240.0.0.1', '198.18.0.1', '[ff02::1]', '[2001:db8::1]']
  ]) {
    const url = `https://${host}:${port}/`
    for (const answer of [
      await create(url),
      await grantd.asAdmin('PATCH', String(made.headers['location']), { body: { url }, sites: ['acme'] })
    ]) {
      t.equal(answer.status, 400, url)
      t.match(answer.json(), { errors: [{ pointer: '/url', code: 'invalid_value' }] }, url)
    }
  }
  for (const url of [`http://${VICTIM}:${port}/`, 'file:///etc/passwd', 'gopher://127.0.0.2', 'https:\\\\127.0.0.2']) {
    t.equal((await create(url)).status, 400, url)
  }
  t.equal(connections(), 0)
})

// [NOTICE-15]
t.test('a webhook by a name that leads to such an address is refused, and tells nothing about the name', async t => {
  const { names, port, connections, create } = await startTarget(t)
  const answers: string[] = []
  for (const address of [VICTIM, '10.0.0.1', '169.254.169.254', '192.168.1.1', '0.0.0.0', undefined]) {
    if (address === undefined) names.delete('db.corp.example')
    else names.set('db.corp.example', address)
    const answer = await create(`https://db.corp.example:${port}/`)
    t.equal(answer.status, 400, String(address))
    answers.push(JSON.stringify(answer.json().errors))
  }
  t.equal(new Set(answers).size, 1, 'a name that does not exist is answered like a private one')
  t.equal(connections(), 0)
})

// [NOTICE-16]
t.test('a name that leads elsewhere after it was saved is not connected to (DNS rebinding)', async t => {
  const { grantd, names, port, connections, create, test } = await startTarget(t)
  names.set('hooks.example.test', '8.8.8.8')
  const made = await create(`https://hooks.example.test:${port}/`)
  t.equal(made.status, 201)
  const path = String(made.headers['location'])
  const details: string[] = []
  for (const address of [VICTIM, '169.254.169.254', '10.0.0.1', undefined]) {
    if (address === undefined) names.delete('hooks.example.test')
    else names.set('hooks.example.test', address)
    const { delivered, detail } = await test(path)
    t.equal(delivered, false, String(address))
    details.push(detail)
  }
  t.same([...new Set(details)], ['the host does not lead to a public address'])
  // A row that somebody wrote past the API.
  await query(grantd.databaseUrl, 'update notice_receivers set target = $1', [{ url: `https://${VICTIM}:${port}/` }])
  t.match(await test(path), { delivered: false, detail: 'the host does not lead to a public address' })
  t.equal(connections(), 0)
})

// [NOTICE-17]
t.test('a redirect to such an address is not followed', async t => {
  const { port, connections, create, test } = await startTarget(t, { NOTICE_WEBHOOK_ALLOW: '127.0.0.1' })
  const receiver = await startWebhookReceiver(t)
  const made = await create(receiver.url)
  t.equal(made.status, 201)
  for (const status of [301, 302, 303, 307, 308]) {
    receiver.answer = response => response.writeHead(status, { location: `http://${VICTIM}:${port}/` }).end()
    t.match(await test(String(made.headers['location'])), { delivered: false, detail: `answered ${status}` })
  }
  t.equal(connections(), 0)
})

import { createInterface } from 'node:readline'
import { Sealing } from '../../src/crypto/key-encryption.ts'
import { openDatabase } from '../../src/database/site-scoped-pool.ts'
import { AddressGuard } from '../../src/notifications/channels/address-guard.ts'
import { createSigningSecret } from '../../src/notifications/channels/webhook.ts'
import { Outbox } from '../../src/notifications/outbox/outbox.ts'
import { SERVICE_RECEIVER_IDS } from '../../src/notifications/repository.ts'
import { Sweep } from '../../src/notifications/sweep.ts'

/**
 * One instance's cadence as a process of its own, which can be killed. Each line that it reads is an instant,
 * milliseconds since the epoch: it sweeps and sends as of then, and writes the line back.
 */
const [connectionString = '', url = ''] = process.argv.slice(2)
let time = 0
const now = () => time
const db = openDatabase({ connectionString, maxConnections: 4, queryTimeoutMs: 5_000, onIdleError: () => {} })
const target = { kind: 'webhook', url, secrets: [createSigningSecret()] } as const
const sweep = new Sweep({
  db,
  steps: [30, 7, 0],
  serviceReceivers: [{ id: SERVICE_RECEIVER_IDS.webhook, kind: 'webhook' }],
  retentionDays: 400,
  now
})
const outbox = new Outbox({
  db,
  sender: {
    guard: new AddressGuard({ items: ['127.0.0.1'], allowsPlainHttp: true }),
    resolve: async () => [],
    timeoutMs: 5_000,
    mail: undefined,
    now
  },
  sealing: new Sealing(Buffer.alloc(32)),
  issuer: 'https://grantd.example.com',
  serviceTargets: new Map([[SERVICE_RECEIVER_IDS.webhook, target]]),
  now,
  onOutcome: () => {},
  onError: error => process.stderr.write(`${error}\n`)
})

for await (const line of createInterface({ input: process.stdin })) {
  time = Number(line)
  await sweep.run()
  await outbox.pump()
  await outbox.idle()
  process.stdout.write(`${line}\n`)
}
await db.destroy()

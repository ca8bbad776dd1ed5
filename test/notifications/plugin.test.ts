import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { sendMessage } from '../../src/notifications/channels/channels.ts'
import { createSigningSecret } from '../../src/notifications/channels/standard-webhooks.ts'
import { Clock, startApp } from '../fixtures/app/app.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'
import { startWebhookReceiver } from '../fixtures/peers/webhook-receiver.ts'
import { until } from '../fixtures/run/until.ts'
import { attempt, channelOptions } from './channels/channel-options.ts'

/** Collects what would end the process. */
function watchProcess(t: Test): unknown[] {
  const fatal: unknown[] = []
  const onFatal = (error: unknown) => fatal.push(error)
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, onFatal)
    t.teardown(() => process.off(event, onFatal))
  }
  return fatal
}

/** Ways in which a part that a job works with can fail. */
const FAILURES: (() => Promise<never>)[] = [
  () => {
    throw new Error('synchronously')
  },
  () => Promise.reject(new Error('at once')),
  async () => {
    await sleep(5)
    throw new Error('later')
  }
]

t.test('a job that throws, rejects or rejects late ends neither the process nor the cadence', async t => {
  const fatal = watchProcess(t)
  const clock = new Clock()
  const failures = [...FAILURES, ...FAILURES]
  let isFailing = false
  const receiver = await startWebhookReceiver(t)
  const grantd = await startApp(t, {
    environment: { NOTICE_WEBHOOK_ALLOW: '127.0.0.1' },
    noticeIntervalSeconds: 0.1,
    now: clock.now,
    databaseNow: async () => (isFailing ? (failures.pop()?.() ?? clock.time) : clock.time)
  })
  const body = { kind: 'webhook', url: receiver.url }
  await grantd.asAdmin('POST', '/v1/sites/acme/notice-receivers', { body })
  await grantd.register({ expiresAt: new Date(clock.time + 8 * DAY_MS).toISOString() })
  isFailing = true
  clock.advance(DAY_MS)
  await until('it has failed in every way', () => failures.length === 0)
  await until('the notice is delivered', () => receiver.received.length === 1)
  t.same(fatal, [])
})

t.test('a part of a delivery that throws, rejects or rejects after the time limit is a failed try', async t => {
  const fatal = watchProcess(t)
  for (const fail of [
    ...FAILURES,
    async () => {
      await sleep(100)
      throw new Error('after the time limit')
    }
  ]) {
    const started: Promise<never>[] = []
    const resolve = () => {
      const resolving = fail()
      started.push(resolving)
      return resolving
    }
    const options = { ...channelOptions(), timeoutMs: 50, resolve }
    const sent = await sendMessage(
      options,
      'webhook',
      attempt({ url: 'https://hooks.example.test/' }, { secrets: [createSigningSecret()] })
    )
    t.match(sent, { isDelivered: false, detail: /^failed$|^no answer in time$/ })
    await Promise.allSettled(started)
  }
  await new Promise(setImmediate)
  t.same(fatal, [])
})

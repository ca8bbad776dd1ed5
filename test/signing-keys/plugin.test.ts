import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import pino from 'pino'
import t, { type Test } from 'tap'
import { signingKeyRotation } from '../../src/signing-keys/plugin.ts'
import { until } from '../fixtures/run/until.ts'

/** The plugin in an app that listens, refreshing every millisecond what the test gives it. */
async function refreshing(t: Test, refresh: (keySet: { activeKid: string }) => Promise<void>) {
  const lines: string[] = []
  const app = Fastify({
    loggerInstance: pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line).msg) })
  })
  let times = 0
  const keySet = {
    activeKid: 'first',
    refresh: () => {
      times++
      return refresh(keySet)
    }
  }
  await app.register(signingKeyRotation, { keySet, intervalMs: 1 })
  await app.ready()
  await sleep(20)
  t.equal(times, 0, 'not before it listens')
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  return { app, times: () => times, logged: (text: string) => lines.filter(line => line.includes(text)).length }
}

t.test('the keys are works again and again while the app listens, and not once it is closed', async t => {
  let isOpen = true
  const { app, times } = await refreshing(t, async () => {
    await sleep(1)
    t.ok(isOpen, 'closing waits for what is under way')
  })
  await until('it is refreshed 5 times', () => times() >= 5)
  await app.close()
  isOpen = false
  const ended = times()
  await sleep(20)
  t.equal(times(), ended)
})

t.test('trouble is logged once, its end too, and it never stops the refreshing', async t => {
  let isBroken = true
  const { times, logged } = await refreshing(t, async () => {
    if (isBroken) throw new Error('no database')
  })
  await until('it has failed 5 times', () => times() >= 5)
  t.equal(logged('a background job failed'), 1)
  t.equal(logged('works again'), 0)
  isBroken = false
  await until('the end of it is logged', () => logged('works again') > 0)
  const soFar = times()
  await until('it goes on', () => times() >= soFar + 3)
  t.equal(logged('works again'), 1)
  isBroken = true
  await until('the next trouble is logged', () => logged('a background job failed') === 2)
})

t.test('that another key signs is logged, also when it took over between two refreshes', async t => {
  const { logged } = await refreshing(t, async keySet => {
    keySet.activeKid = 'second'
  })
  await until('it is logged', () => logged('another signing key signs now') > 0)
  await sleep(10)
  t.equal(logged('another signing key signs now'), 1)
})

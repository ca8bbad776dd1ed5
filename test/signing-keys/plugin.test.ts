import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import pino from 'pino'
import t, { type Test } from 'tap'
import { signingKeyRotation } from '../../src/signing-keys/plugin.ts'
import { until } from '../fixtures/run/until.ts'

/** The plugin in an app that listens, tending every millisecond what the test gives it. */
async function tending(t: Test, tend: (keySet: { activeKid: string }) => Promise<void>) {
  const lines: string[] = []
  const app = Fastify({
    loggerInstance: pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line).msg) })
  })
  let times = 0
  const keySet = {
    activeKid: 'first',
    tend: () => {
      times++
      return tend(keySet)
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

t.test('the keys are tended again and again while the app listens, and not once it is closed', async t => {
  let isOpen = true
  const { app, times } = await tending(t, async () => {
    await sleep(1)
    t.ok(isOpen, 'closing waits for what is under way')
  })
  await until('it is tended 5 times', () => times() >= 5)
  await app.close()
  isOpen = false
  const ended = times()
  await sleep(20)
  t.equal(times(), ended)
})

t.test('trouble is logged once, its end too, and it never stops the tending', async t => {
  let isBroken = true
  const { times, logged } = await tending(t, async () => {
    if (isBroken) throw new Error('no database')
  })
  await until('it has failed 5 times', () => times() >= 5)
  t.equal(logged('could not be tended'), 1)
  t.equal(logged('tended again'), 0)
  isBroken = false
  await until('the end of it is logged', () => logged('tended again') > 0)
  const soFar = times()
  await until('it is tended on', () => times() >= soFar + 3)
  t.equal(logged('tended again'), 1)
  isBroken = true
  await until('the next trouble is logged', () => logged('could not be tended') === 2)
})

t.test('that another key signs is logged', async t => {
  const { logged } = await tending(t, async keySet => {
    keySet.activeKid = 'second'
  })
  await until('it is logged', () => logged('another signing key signs now') > 0)
  await sleep(10)
  t.equal(logged('another signing key signs now'), 1)
})

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Clock } from '../fixtures/app/app.ts'
import { asServingRole, createDatabase, query } from '../fixtures/app/database.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'
import { insertRegistrationRow } from '../fixtures/app/registration-row.ts'
import { startWebhookReceiver } from '../fixtures/peers/webhook-receiver.ts'
import { ROOT } from '../fixtures/run/paths.ts'

const HOUR_MS = 3_600_000
const DAYS = 40
const REGISTRATIONS = 60
const KILLS = 12

/** An instance of the cadence in a process of its own. */
class Instance {
  readonly #arguments: readonly string[]
  #child: ChildProcess
  #exited: Promise<unknown>

  constructor(databaseUrl: string, receiverUrl: string) {
    this.#arguments = [path.join(ROOT, 'test/faults/notice-instance.ts'), databaseUrl, receiverUrl]
    this.#child = this.#spawn()
    this.#exited = once(this.#child, 'exit')
  }

  /** @returns when it has swept and sent as of this instant, or has ended */
  async tick(time: number): Promise<void> {
    const { stdout, stdin } = this.#child
    if (stdout === null || stdin === null) throw new Error('no pipes')
    const done = Promise.withResolvers<void>()
    const onData = (chunk: Buffer) => String(chunk).includes(String(time)) && done.resolve()
    stdout.on('data', onData)
    stdin.write(`${time}\n`)
    await Promise.race([done.promise, this.#exited])
    stdout.off('data', onData)
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }

  async restart(): Promise<void> {
    await this.kill()
    this.#child = this.#spawn()
    this.#exited = once(this.#child, 'exit')
  }

  #spawn(): ChildProcess {
    const child = spawn(process.execPath, this.#arguments, { stdio: ['pipe', 'pipe', 'inherit'] })
    // A killed process reads no more.
    child.stdin.on('error', () => {})
    return child
  }
}

function startInstance(t: Test, databaseUrl: string, receiverUrl: string): Instance {
  const instance = new Instance(databaseUrl, receiverUrl)
  t.teardown(() => instance.kill())
  return instance
}

// [FAULT-22]
t.test(
  'two instances on one cadence, one killed at random for 40 days: each step exactly once, none missed',
  async t => {
    const databaseUrl = await createDatabase(t)
    const receiver = await startWebhookReceiver(t, response => {
      setTimeout(() => response.writeHead(204).end(), Math.random() * 20)
    })
    const start = new Clock().time
    const expected: string[] = []
    for (let index = 0; index < REGISTRATIONS; index++) {
      // Expiries spread over the time and beyond it, at any hour.
      const expiresAt = start + DAY_MS + index * DAY_MS + index * HOUR_MS
      const { clientId } = await insertRegistrationRow(databaseUrl, { expiresAt, armedAt: start })
      for (const step of [30, 7, 0]) {
        const instant = expiresAt - step * DAY_MS
        if (instant > start && instant <= start + DAYS * DAY_MS) expected.push(`${clientId} ${step}`)
      }
    }
    const url = asServingRole(databaseUrl)
    const [steady, unlucky] = [startInstance(t, url, receiver.url), startInstance(t, url, receiver.url)]
    for (let day = 1; day <= DAYS; day++) {
      const time = start + day * DAY_MS
      const ticks = [steady.tick(time), unlucky.tick(time)]
      if (day % Math.floor(DAYS / KILLS) === 0) {
        await sleep(Math.random() * 60)
        await unlucky.restart()
      }
      await Promise.all(ticks)
    }
    // What was leased to a process that was killed is sent when its lease is over.
    await steady.tick(start + DAYS * DAY_MS + 61_000)

    const fired = (await query(databaseUrl, 'select client_id, step from notices')).map(Object)
    t.same(fired.map(({ client_id, step }) => `${client_id} ${step}`).sort(), expected.sort(), 'made once each')
    t.ok(expected.length > 60, `${expected.length} notices`)
    const told = new Set(receiver.received.map(({ event }) => `${event.data.clientId} ${event.data.step}`))
    t.same([...told].sort(), expected, 'each told')
    const ids = new Set(receiver.received.map(({ headers }) => headers['webhook-id']))
    t.equal(ids.size, expected.length, 'a repetition has the id of the first')
    const states = await query(databaseUrl, 'select distinct state from notice_deliveries')
    t.same(states, [{ state: 'delivered' }])
    t.comment(`${receiver.received.length - ids.size} repetitions after ${KILLS} kills`)
  }
)

import t from 'tap'
import { DatabaseClock } from '../../src/database/clock.ts'
import { countStatements, createDatabase, openTestDatabase, query } from '../fixtures/app/database.ts'

t.test('the clock shows the time of the database, and never a later one', async t => {
  const url = await createDatabase(t)
  const { now } = new DatabaseClock(openTestDatabase(t, url))
  for (let round = 0; round < 20; round++) {
    const shown = await now()
    const [row] = await query(url, 'select clock_timestamp() as now')
    const time = Object(row).now.getTime()
    t.ok(shown <= time && time - shown < 1_000, `${time - shown} ms behind`)
  }
})

t.test('the clock asks the database once a minute, and counts in between', async t => {
  const { db, counts } = countStatements(openTestDatabase(t, await createDatabase(t)))
  const { now } = new DatabaseClock(db)
  const first = await now()
  for (let round = 0; round < 100; round++) t.ok((await now()) >= first)
  t.equal(counts.statements, 1)
})

t.test("setting this machine's clock does not change it", async t => {
  const { now } = new DatabaseClock(openTestDatabase(t, await createDatabase(t)))
  const before = await now()
  const { now: realNow } = Date
  t.teardown(() => (Date.now = realNow))
  Date.now = () => realNow() + 40 * 86_400_000
  t.ok((await now()) - before < 10_000)
})

t.test(
  'an estimate needs no statement, is unknown before the first answer, and is never ahead of the database',
  async t => {
    const url = await createDatabase(t)
    const { db, counts } = countStatements(openTestDatabase(t, url))
    const clock = new DatabaseClock(db)
    t.equal(clock.estimate(), Number.POSITIVE_INFINITY)
    for (let round = 0; round < 20; round++) {
      await clock.refresh()
      const shown = clock.estimate()
      const [row] = await query(url, 'select clock_timestamp() as now')
      const time = Object(row).now.getTime()
      t.ok(shown <= time && time - shown < 1_000, `${time - shown} ms behind`)
    }
    for (let round = 0; round < 100; round++) clock.estimate()
    t.equal(counts.statements, 20)
  }
)

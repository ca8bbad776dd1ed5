import t from 'tap'
import { createClientSecret } from '../../src/credentials/secret.ts'
import { traceparentOf } from '../../src/http/traceparent.ts'
import { startApp } from '../fixtures/app/app.ts'
import { capturedLog } from '../fixtures/app/log.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = '00f067aa0ba902b7'
const VALID = `00-${TRACE}-${PARENT}-01`

t.test(
  'a traceparent by the grammar is kept, and of a later version its first four fields (W3C Trace Context §3.2)',
  async t => {
    for (const [header, kept] of [
      [VALID, VALID],
      [`00-${TRACE}-${PARENT}-ff`, `00-${TRACE}-${PARENT}-ff`],
      [`01-${TRACE}-${PARENT}-01`, `01-${TRACE}-${PARENT}-01`],
      [`cc-${TRACE}-${PARENT}-01-what-the-future-adds`, `cc-${TRACE}-${PARENT}-01`]
    ] as const) {
      t.equal(traceparentOf({ traceparent: header }), kept, header)
    }
  }
)

const MALFORMED = [
  '',
  '00',
  `ff-${TRACE}-${PARENT}-01`,
  `00-${'0'.repeat(32)}-${PARENT}-01`,
  `00-${TRACE}-${'0'.repeat(16)}-01`,
  `00-${TRACE.toUpperCase()}-${PARENT}-01`,
  `00-${TRACE}-${PARENT}-0`,
  `00-${TRACE}-${PARENT}-0g`,
  `00-${TRACE}-${PARENT}-01-`,
  `00-${TRACE}-${PARENT}-01-00`,
  `01-${TRACE}-${PARENT}-01.00`,
  `0-${TRACE}-${PARENT}-01`,
  `00-${TRACE.slice(1)}-${PARENT}-01`,
  `00-${TRACE}0-${PARENT}-01`,
  `00-${TRACE}-${PARENT.slice(1)}-01`,
  `00_${TRACE}_${PARENT}_01`,
  ` ${VALID}`,
  `${VALID}, ${VALID}`,
  `${VALID}\n`,
  `${VALID}","level":"error`,
  `{"msg":"${VALID}"}`,
  '-'.repeat(55),
  '0'.repeat(10_000),
  createClientSecret('abcdef')
]

t.test('a malformed traceparent is ignored (W3C Trace Context §3.2.2)', async t => {
  t.equal(traceparentOf({}), undefined)
  for (const header of MALFORMED) t.equal(traceparentOf({ traceparent: header }), undefined, header)
})

t.test('the line of a request has its traceparent, and nothing else that this header may hold', async t => {
  const { log, lines } = capturedLog()
  const grantd = await startApp(t, { log })
  const loggedFor = async (headers: Record<string, string | string[]>) => {
    lines.length = 0
    const { status } = await grantd.send('GET', '/health/live', { headers })
    t.equal(status, 200)
    t.equal(lines.length, 1)
    return JSON.parse(lines[0] ?? '')
  }
  t.equal((await loggedFor({ traceparent: VALID })).traceparent, VALID)
  t.equal((await loggedFor({ TraceParent: VALID, tracestate: 'congo=t61rcWkgMzE' })).traceparent, VALID)
  const { time, durationMs, requestId, ...withoutTrace } = await loggedFor({})
  t.notOk('traceparent' in withoutTrace)
  for (const header of MALFORMED.filter(text => !text.includes('\n'))) {
    // White space around a value is not part of it.
    if (header.trim() === VALID) continue
    t.match(await loggedFor({ traceparent: header }), withoutTrace, header)
    t.notOk('traceparent' in JSON.parse(lines[0] ?? ''), header)
  }
  t.notOk('traceparent' in (await loggedFor({ traceparent: [VALID, VALID] })), 'two of them')
})

import t from 'tap'
import { addUp, expose, Registry, whatItCounted } from '../../src/metrics/registry.ts'

async function exposed(registry: Registry): Promise<string> {
  return expose(await registry.read())
}

t.test('a metric has its help and type once, and a line for each series', async t => {
  const registry = new Registry()
  const first = registry.counter('requests_total', 'Requests.', { outcome: 'issued' })
  registry.counter('requests_total', 'Requests.', { outcome: 'refused' })
  first.increment()
  first.increment()
  t.equal(
    await exposed(registry),
    '# HELP requests_total Requests.\n# TYPE requests_total counter\n' +
      'requests_total{outcome="issued"} 2\nrequests_total{outcome="refused"} 0\n'
  )
})

t.test('a label value cannot begin another line or label', async t => {
  const registry = new Registry()
  registry.reading({ name: 'odd', help: 'Odd.' }, () => 1, { label: 'a"b\\c\nd' })
  t.match(await exposed(registry), 'odd{label="a\\"b\\\\c\\nd"} 1\n')
})

t.test('a histogram counts cumulatively, each bound included', async t => {
  const registry = new Registry()
  const histogram = registry.histogram('seconds', 'Seconds.', [0.1, 1])
  for (const value of [0.05, 0.1, 0.5, 1, 7]) histogram.observe(value)
  t.match(
    await exposed(registry),
    'seconds_bucket{le="0.1"} 2\nseconds_bucket{le="1"} 4\nseconds_bucket{le="+Inf"} 5\nseconds_sum 8.65\nseconds_count 5\n'
  )
})

t.test('a value that is not known has no line', async t => {
  const registry = new Registry()
  let known: number | undefined
  registry.reading({ name: 'known', help: 'Known.' }, () => known)
  t.notMatch(await exposed(registry), /^known/m)
  known = Number.POSITIVE_INFINITY
  t.match(await exposed(registry), /^known \+Inf$/m)
})

t.test('the metrics of several processes are combined by sum or by maximum', async t => {
  const processOf = async (count: number, lag: number, extra: boolean) => {
    const registry = new Registry()
    for (let index = 0; index < count; index++) registry.counter('n_total', 'N.', { by: String(index) }).increment()
    registry.reading({ name: 'lag', help: 'Lag.', across: 'max' }, () => lag)
    if (extra) registry.reading({ name: 'extra', help: 'Extra.' }, () => 7)
    return registry.read()
  }
  const first = await processOf(1, 3, true)
  const total = addUp([first, await processOf(2, 2, false)])
  t.same(Object.fromEntries(total.map(({ name, samples }) => [name, samples])), {
    n_total: { '{by="0"}': 2, '{by="1"}': 1 },
    lag: { '': 3 },
    extra: { '': 7 }
  })
  t.same(first[0]?.samples, { '{by="0"}': 1 }, 'the metrics that were combined stay unchanged')
  t.same(
    whatItCounted(total).map(({ name }) => name),
    ['n_total']
  )
})

import t from 'tap'
import type { Comparison, Standing } from '../../bench/comparison.ts'
import type { Machine } from '../../bench/machine.ts'
import type { Round } from '../../bench/measure.ts'
import { pictureOf, reportOf, withSpeed } from '../../bench/report.ts'
import { formatSpread, markdownTable } from '../../bench/table.ts'
import { fastestPeer, isReached, targetsOf } from '../../bench/targets.ts'

const machine: Machine = {
  cpu: 'A & B <cpu>',
  cores: 2,
  memoryGiB: 8,
  system: 'Linux 6',
  node: 'v26.0.0',
  loadAverage: 0.1,
  syncMs: 0.5
}

function round(change: Partial<Round> = {}): Round {
  return {
    tokensPerSecond: 1_000,
    serverUs: 100,
    postgresUs: 20,
    generatorUs: 10,
    generatorShare: 0.1,
    foreignShare: 0,
    rowsPerToken: 0,
    residentMiB: 100,
    failures: 0,
    half: { p50: 1, p99: 2, p999: 3, failures: 0 },
    ...change
  }
}

function standing(name: string, kind: Standing['kind'], change: Partial<Round> = {}): Standing {
  const { half } = round()
  return { name, kind, rounds: [round(change), round(change)], atGrantdsHalf: [half, half], coldStartMs: 300 }
}

const comparison: Comparison = {
  standings: [
    standing('ceiling', 'ceiling', { tokensPerSecond: 4_000 }),
    standing('grantd', 'grantd', { tokensPerSecond: 3_600, serverUs: 120 }),
    standing('slow & small', 'peer', { tokensPerSecond: 500 }),
    standing('fast', 'peer', { tokensPerSecond: 900 }),
    standing('stores', 'peer', { tokensPerSecond: 950, rowsPerToken: 1 })
  ],
  npmStartMs: 1_500,
  postgresVersion: '18.4'
}

t.test('the peer to beat is the fastest of those that do the same', async t => {
  t.equal(fastestPeer(comparison.standings, false)?.name, 'fast')
  t.equal(fastestPeer(comparison.standings, true)?.name, 'stores')
  t.equal(fastestPeer([], true), undefined)
})

t.test('a target that is not reached is said to be so', async t => {
  const targets = targetsOf(comparison)
  const find = (what: RegExp) => targets.find(target => what.test(target.what))
  for (const what of [/tokens\/s over the ceiling/, /over fast/, /memory/, /spawn/, /rows/]) {
    const target = find(what)
    t.ok(target !== undefined && isReached(target), String(what))
  }
  for (const what of [/over stores/, /npm start/]) {
    const target = find(what)
    t.ok(target !== undefined && !isReached(target), String(what))
  }
})

t.test('a report has a row for each contestant, and says where it was taken', async t => {
  const report = reportOf(comparison, machine, 'so much load.')
  for (const { name } of comparison.standings) t.match(report, `\n| ${name} | `)
  t.match(report, 'A & B <cpu>, 2 cores, 8 GiB, Linux 6; Node v26.0.0, PostgreSQL 18.4; load average 0.10')
  t.match(report, /\| ≥ 6 × \| \*\*not reached\*\*; the ceiling itself is at [\d.]+ × \|/)
  t.notMatch(report, /NaN|undefined|Infinity/)
})

t.test('a machine that was busy with something else is told', async t => {
  t.match(reportOf(comparison, machine, ''), 'Other programs took 0 %')
  t.notMatch(reportOf(comparison, machine, ''), 'too busy')
  const busy = { ...comparison, standings: [standing('grantd', 'grantd', { foreignShare: 0.4 })] }
  t.match(reportOf(busy, machine, ''), /Other programs took 40 % .*too busy/)
})

t.test('every row of a table has as many cells as its head', async t => {
  const lines = markdownTable(['a', 'b'], [['1', '2']]).split('\n')
  t.same(lines, ['| a | b |', '|---|---|', '| 1 | 2 |'])
})

t.test('a spread of one value is that value', async t => {
  t.equal(formatSpread({ median: 0.5, min: 0.5, max: 0.5 }), '0.50')
  t.equal(formatSpread({ median: 2, min: 1, max: 30 }), '2.00 (1.00–30.0)')
})

t.test('the chart is well-formed XML, with a bar for each contestant, in light and dark', async t => {
  const chart = pictureOf(comparison, machine)
  const open: string[] = []
  for (const [, closes, name = '', , isEmpty] of chart.matchAll(/<(\/?)([a-z]+)((?: [a-zA-Z]+="[^"<&]*")*)(\/?)>/g)) {
    if (closes) t.equal(open.pop(), name)
    else if (!isEmpty) open.push(name)
  }
  t.same(open, [])
  const rest = chart.replaceAll(/<\/?[a-z]+(?: [a-zA-Z]+="[^"<&]*")*\/?>/g, '')
  t.notMatch(rest, /<|&(?!(?:amp|lt|gt|quot);)/, 'nothing outside of tags that would have to be escaped')
  t.match(chart, 'A &amp; B &lt;cpu&gt;')
  for (const { name } of comparison.standings) t.match(chart, `>${name.replace('&', '&amp;')}`)
  t.match(chart, 'prefers-color-scheme: dark')
  t.notMatch(chart, /NaN|undefined|Infinity/)
})

t.test('only the section of the README that says so is written anew', async t => {
  const [before, after] = ['# grantd\n\n<!-- speed: npm run bench -->\n', '<!-- end -->\n\n## More\n']
  const written = withSpeed(`${before}\nold $& figures\n\n${after}`, comparison, machine)
  t.ok(written.startsWith(before))
  t.ok(written.endsWith(after))
  t.match(written, 'bench/results.svg')
  t.match(written, '| rows per token | 0 rows | ≤ 0 rows | reached |')
  t.notMatch(written, 'old')
  t.equal(withSpeed(written, comparison, machine), written)
  t.equal(withSpeed('no such section', comparison, machine), 'no such section')
})

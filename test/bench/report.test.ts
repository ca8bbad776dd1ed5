import t from 'tap'
import { comparisonChart } from '../../bench/report/comparison-chart.ts'
import { comparisonTables } from '../../bench/report/comparison-tables.ts'
import { comparisonTargets, fastestPeer } from '../../bench/report/comparison-targets.ts'
import { doubtLine, type Result, sectionOf, withSection, withSpeed } from '../../bench/report/report.ts'
import { formatSpread, markdownTable, tidy } from '../../bench/report/table.ts'
import { isReached, targetsTable } from '../../bench/report/target.ts'
import { comparison, quietMachine } from './fixtures.ts'

const QUIET = 'The machine was quiet.'

const result: Result = {
  title: 'A run',
  load: 'Full load.',
  body: comparisonTables(comparison),
  targets: comparisonTargets(comparison),
  foreignShares: [0.01]
}

t.test('the peer to beat is the fastest of those that store as much', async t => {
  t.equal(fastestPeer(comparison.standings, false)?.name, 'fast')
  t.equal(fastestPeer(comparison.standings, true)?.name, 'stores')
  t.equal(fastestPeer([], true), undefined)
})

t.test('a target is reached or not by the median', async t => {
  const targets = comparisonTargets(comparison)
  const verdictOf = (what: RegExp): boolean[] => targets.filter(target => what.test(target.what)).map(isReached)
  t.same(verdictOf(/ceiling that signs in turns/), [true])
  t.same(verdictOf(/same guarantee/), [true])
  t.same(verdictOf(/tokens\/s against (fast|stores)/), [true, false])
  t.same(verdictOf(/memory|rows|Postgres CPU/), [true, true, true])
  t.same(verdictOf(/spawn to first token/), [true])
})

t.test('the tail at every rate is held against the best peer', async t => {
  const tails = comparisonTargets(comparison).filter(({ what }) => /^p99 at .* against the best peer/.test(what))
  t.equal(tails.length, comparison.rates.length)
  for (const tail of tails) {
    t.match(tail.what, '(fast)')
    t.notOk(isReached(tail), 'grantd needs 2 ms where the best peer needs 1.5')
  }
})

t.test('a comparison without peers has no target against them', async t => {
  const standings = comparison.standings.filter(({ kind }) => kind !== 'peer')
  const targets = comparisonTargets({ ...comparison, standings })
  t.ok(targets.length > 5)
  t.notMatch(targetsTable(targets), /undefined|NaN|peer/)
})

t.test('a target that is missed says by which factor', async t => {
  const exact = (value: number) => ({ median: value, min: value, max: value })
  const verdictOf = (value: number, wanted: { least: number } | { most: number }): string =>
    targetsTable([{ what: 'it', value: exact(value), unit: '×', wanted }])
      .split('\n')
      .at(-1) ?? ''
  t.match(verdictOf(0.5, { least: 1 }), '| **not reached**, by a factor of 2.00 |')
  t.match(verdictOf(3, { most: 2 }), '| **not reached**, by a factor of 1.50 |')
  t.match(verdictOf(3, { most: 0 }), '| **not reached** |')
  t.match(verdictOf(2, { most: 2 }), '| reached |')
})

t.test('a section names the machine and the day, and has every contestant in each table', async t => {
  const section = sectionOf(result, quietMachine, QUIET)
  t.match(section, '2026-01-02, A & B <cpu>, 2 cores, 8 GiB, Linux 6, Node v26.0.0, PostgreSQL 18.4.')
  t.match(section, QUIET)
  for (const { name } of comparison.standings) t.ok(section.split(`\n| ${name} |`).length >= 4, name)
  t.notMatch(section, /NaN|undefined|Infinity/)
})

t.test('a section of a disturbed run says not to believe it', async t => {
  const quiet = { foreignShares: [0.01], clockStepsMs: [] }
  t.equal(doubtLine(quietMachine, quiet), QUIET)
  const doubts = doubtLine(quietMachine, { ...quiet, foreignShares: [0.4] })
  t.match(doubts, /Do not believe .*other programs took 40 %/)
  t.match(sectionOf(result, quietMachine, doubts), doubts)
  t.match(withSpeed('<!-- speed: npm run bench -->\n<!-- end -->', result, quietMachine, doubts), doubts)
})

t.test('a run replaces its own section of the results and no other', async t => {
  const first = withSection('older text', 'soak', 'soak $& 1')
  t.notMatch(first, 'older text')
  const both = withSection(first, 'cold', 'cold 1')
  const again = withSection(both, 'soak', 'soak 2')
  t.match(again, 'soak 2')
  t.match(again, 'cold 1')
  t.notMatch(again, 'soak $& 1')
  t.equal(again.split('<!-- run: soak -->').length, 2)
})

t.test('only the speed section of the README is replaced', async t => {
  const [before, after] = ['# grantd\n\n<!-- speed: npm run bench -->\n', '<!-- end -->\n\n## More\n']
  const written = withSpeed(`${before}\nold $& figures\n\n${after}`, result, quietMachine, QUIET)
  t.ok(written.startsWith(before))
  t.ok(written.endsWith(after))
  t.match(written, 'bench/results.svg')
  t.match(written, '| rows per token | 0 rows | ≤ 0 rows | reached |')
  t.notMatch(written, 'old')
  t.equal(withSpeed(written, result, quietMachine, QUIET), written)
  t.equal(withSpeed('no such section', result, quietMachine, QUIET), 'no such section')
})

t.test('every row of a table has as many cells as its head', async t => {
  t.same(markdownTable(['a', 'b'], [['1', '2']]).split('\n'), ['| a | b |', '|---|---|', '| 1 | 2 |'])
  for (const table of comparisonTables(comparison).match(/(?:^\|.*\n?)+/gm) ?? []) {
    const widths = table
      .trim()
      .split('\n')
      .map(line => line.split('|').length)
    t.equal(new Set(widths).size, 1, table)
  }
})

t.test('a number keeps three significant digits', async t => {
  t.same([0, 0.5, 12.34, 123.4, 12_345.6].map(tidy), ['0', '0.50', '12.3', '123', '12,346'])
})

t.test('a spread of equal values is written as one value', async t => {
  t.equal(formatSpread({ median: 0.5, min: 0.5, max: 0.5 }), '0.50')
  t.equal(formatSpread({ median: 2, min: 1, max: 30 }), '2.00 (1.00–30.0)')
})

t.test('the chart shows throughput, CPU and the tail as well-formed XML, in light and dark', async t => {
  const chart = comparisonChart(comparison, quietMachine)
  const open: string[] = []
  for (const [, closes, name = '', , isEmpty] of chart.matchAll(/<(\/?)([a-z]+)((?: [a-zA-Z]+="[^"<&]*")*)(\/?)>/g)) {
    if (closes) t.equal(open.pop(), name)
    else if (!isEmpty) open.push(name)
  }
  t.same(open, [])
  const rest = chart.replaceAll(/<\/?[a-z]+(?: [a-zA-Z]+="[^"<&]*")*\/?>/g, '')
  t.notMatch(rest, /<|&(?!(?:amp|lt|gt|quot);)/, 'all text outside of tags is escaped')
  t.match(chart, 'A &amp; B &lt;cpu&gt;')
  for (const panel of ['Tokens per second', 'CPU per token', 'The slowest 1 % at 1,000 requests per second'])
    t.match(chart, panel)
  for (const { name, kind } of comparison.standings)
    if (kind !== 'static') t.match(chart, `>${name.replace('&', '&amp;')}`)
  t.match(chart, 'prefers-color-scheme: dark')
  t.notMatch(chart, /NaN|undefined|Infinity/)
})

t.test('a bar that is cut keeps its value', async t => {
  const chart = comparisonChart(comparison, quietMachine)
  t.match(chart, '→ 700')
  const widest = Math.max(
    ...[...chart.matchAll(/class="[^"]*part\d" x="([\d.]+)"[^>]*width="([\d.]+)"/g)].map(
      ([, x, width]) => Number(x) + Number(width)
    )
  )
  t.ok(widest <= 860, String(widest))
})

import t from 'tap'
import { type CpuProfile, originOf, selfTimes } from '../../bench/report/profile.ts'

const frame = (functionName: string, url = '') => ({ functionName, url, lineNumber: 9 })
const profile: CpuProfile = {
  nodes: [
    { id: 1, callFrame: frame('(root)') },
    { id: 2, callFrame: frame('(idle)') },
    { id: 3, callFrame: frame('exchange', 'file:///home/me/bench/src/oauth/token/exchange.ts') },
    { id: 4, callFrame: frame('query', 'file:///home/me/grantd/node_modules/pg/lib/client.js') },
    { id: 5, callFrame: frame('sign') },
    { id: 6, callFrame: frame('(garbage collector)') },
    { id: 7, callFrame: frame('onread', 'node:net') }
  ],
  samples: [2, 3, 4, 3, 5, 6, 7, 1],
  timeDeltas: [900, 10, 20, 30, 50, 5, 1, 100]
}

t.test('self time is summed for each function, and waiting does not count', async t => {
  t.same(selfTimes(profile), [
    { name: 'sign (native)', us: 50 },
    { name: 'exchange src/oauth/token/exchange.ts:10', us: 40 },
    { name: 'query node_modules/pg/lib/client.js:10', us: 20 },
    { name: '(garbage collector)', us: 5 },
    { name: 'onread node:net:10', us: 1 }
  ])
})

t.test('self time is summed for each room, package and module of Node', async t => {
  t.same(
    selfTimes(profile, originOf).map(({ name }) => name),
    ['sign (native)', 'src/oauth/token', 'pg', '(garbage collector)', 'node:net']
  )
})

import t from 'tap'
import { tokensWithoutGenerator } from '../../bench/runs/scaling.ts'

t.test("the generator's share is taken out only where the server would have used it", async t => {
  const withIdle = { tokensPerSecond: 1_000, generatorCores: 0.2, idleCores: 0.8 }
  t.equal(tokensWithoutGenerator(withIdle, 2), 1_000, 'an idle core was left')
  const saturated = { tokensPerSecond: 1_800, generatorCores: 0.2, idleCores: 0 }
  t.equal(tokensWithoutGenerator(saturated, 2), 2_000, 'the server had 1.8 of 2 cores')
})

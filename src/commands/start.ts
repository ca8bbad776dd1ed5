import cluster from 'node:cluster'
import { processConfig } from '../config/config.ts'
import { runPrimary } from '../runtime/primary.ts'
import { report } from '../runtime/primary-channel.ts'
import { runSingle } from '../runtime/single.ts'
import { runWorker } from '../runtime/worker.ts'
import { explain } from './run.ts'

/** `npm start`: starts grantd, in one process or with workers. */

try {
  const config = processConfig()
  if (cluster.isWorker) await runWorker(config)
  else if (config.workers > 1) await runPrimary(config)
  else await runSingle(config)
} catch (error) {
  const fault = explain(error)
  // The primary prints what keeps its workers from starting, once.
  if (cluster.isWorker) await report({ fault })
  else process.stderr.write(`grantd does not start: ${fault}\n`)
  process.exit(1)
}

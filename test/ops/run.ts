import { runWithPrograms } from '../fixtures/run/runner.ts'

/** `npm run test:ops`: what an operator runs around grantd, in the programs that it is for. */
await runWithPrograms('test/ops/**/*.ops.ts')

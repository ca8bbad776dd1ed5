import t, { type Test } from 'tap'
import { type ClauseId, nameOf } from './clauses.ts'

/** Runs the test of one clause. */
export function clause(id: ClauseId, test: (t: Test) => Promise<unknown>): void {
  t.test(nameOf(id), test)
}

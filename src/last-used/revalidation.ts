import type { Kysely } from 'kysely'
import type { Batcher } from '../concurrency/batcher.ts'
import type { Database } from '../database/schema.ts'
import type { Revalidation, VersionCheck } from '../oauth/token/revalidation.ts'
import { recordUsesOfUnchanged, type VersionUse } from './repository.ts'
import { mergeUses, type Use, useOf } from './use.ts'

/**
 * Revalidates clients and records their use, in one statement.
 *
 * An exchange that stopped waiting for the statement is recorded by another one, also when the first one is committed
 * later. `recorder` then takes its count back.
 */
export function revalidateAndRecordUse(db: Kysely<Database>, recorder: Batcher<Use, void>): Revalidation {
  return {
    findCurrent: checks => recordUsesOfUnchanged(db, usesOf(checks)),
    recordsUse: true,
    foundCurrentLate: checks => {
      for (const { clientId, count } of checks) void recorder.add(clientId, { oddAt: 0, evenAt: 0, count: -count })
    }
  }
}

/** Two credentials of one version are one use. Two versions are two, of which the statement records the current one. */
function usesOf(checks: readonly VersionCheck[]): VersionUse[] {
  const uses = new Map<string, VersionUse>()
  for (const { clientId, version, credentialNumber, at, count } of checks) {
    const key = `${clientId} ${version}`
    const use = useOf(credentialNumber, at, count)
    const gathered = uses.get(key)
    uses.set(key, { clientId, version, use: gathered === undefined ? use : mergeUses(gathered.use, use) })
  }
  return [...uses.values()]
}

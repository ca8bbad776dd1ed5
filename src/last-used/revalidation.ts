import type { Kysely } from 'kysely'
import type { Database } from '../database/schema.ts'
import type { Revalidation, VersionCheck } from '../oauth/token/revalidation.ts'
import { recordUsesOfUnchanged, type VersionUse } from './repository.ts'
import { mergeUses, useOf } from './use.ts'

/** Revalidates clients and records their use, in one statement. */
export function revalidateAndRecordUse(db: Kysely<Database>): Revalidation {
  return { findCurrent: checks => recordUsesOfUnchanged(db, usesOf(checks)), recordsUse: true }
}

/** Two credentials of one version are one use. Two versions are two, of which the statement records the current one. */
function usesOf(checks: readonly VersionCheck[]): VersionUse[] {
  const uses = new Map<string, VersionUse>()
  for (const { clientId, version, credentialNumber, at } of checks) {
    const key = `${clientId} ${version}`
    const use = useOf(credentialNumber, at)
    const gathered = uses.get(key)
    uses.set(key, { clientId, version, use: gathered === undefined ? use : mergeUses(gathered.use, use) })
  }
  return [...uses.values()]
}

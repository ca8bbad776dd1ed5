import { Problem } from '../../http/problem.ts'
import { readUnusedFor, requireUnused } from '../../registrations/unused-guard.ts'
import { refusal } from '../cli/answer.ts'
import type { KeyedRegistrations } from './keyed-registrations.ts'
import type { Outcome } from './outcome.ts'

interface PruneOptions {
  dryRun: boolean
  /** How long a registration must be unused to be deleted, as an ISO 8601 duration. */
  unusedFor: string
  /** Ends the run before the next registration. */
  interruption: AbortSignal
}

/**
 * Deletes the registrations of a Site that have a key which the file does not name. grantd deletes none that was used in
 * `unusedFor`. A dry run says which these are, by the clock of this machine.
 */
export async function* prune(
  registrations: KeyedRegistrations,
  keys: ReadonlySet<string>,
  { dryRun, unusedFor, interruption }: PruneOptions
): AsyncGenerator<Outcome> {
  const all = await registrations.list()
  for (const registration of all) {
    const { clientId, lastUsedAt, registeredAt } = registration
    const key = String(registration['key'])
    if (keys.has(key)) continue
    interruption.throwIfAborted()
    const use = lastUsedAt === null ? `never used since ${registeredAt}` : `last used ${lastUsedAt}`
    const lines = dryRun
      ? foreseenRefusal(registration, unusedFor)
      : await deletionRefusal(registrations, key, unusedFor)
    yield { key, kind: lines.length === 0 ? 'deleted' : 'refused', note: `clientId ${clientId}, ${use}`, lines }
  }
}

async function deletionRefusal(registrations: KeyedRegistrations, key: string, unusedFor: string): Promise<string[]> {
  const answer = await registrations.delete(key, unusedFor)
  // A deletion whose answer got lost has been done.
  return answer.status === 204 || answer.status === 404 ? [] : refusal(answer).split('\n')
}

function foreseenRefusal(registration: Record<string, unknown>, unusedFor: string): string[] {
  const { lastUsedAt, registeredAt, mayIntrospect } = registration
  const used = {
    lastUsedAt: lastUsedAt === null ? null : new Date(String(lastUsedAt)),
    createdAt: new Date(String(registeredAt)),
    mayIntrospect: mayIntrospect === true
  }
  try {
    requireUnused(used, readUnusedFor({ recordsUse: true }, { unusedFor }) ?? 0, Date.now())
    return []
  } catch (error) {
    if (error instanceof Problem) return [`${error.status} ${error.code}: ${error.message}`]
    throw error
  }
}

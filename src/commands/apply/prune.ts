import { refusal } from '../cli/answer.ts'
import type { KeyedRegistrations } from './keyed-registrations.ts'
import type { Outcome } from './outcome.ts'

/**
 * Deletes the registrations of a Site that have a key which the file does not name. grantd deletes none that was used in
 * `unusedFor`. A dry run says when each was last used.
 *
 * @param unusedFor ISO 8601 duration
 */
export async function* prune(
  registrations: KeyedRegistrations,
  keys: ReadonlySet<string>,
  { dryRun, unusedFor }: { dryRun: boolean; unusedFor: string }
): AsyncGenerator<Outcome> {
  const all = await registrations.list()
  for (const { key: name, clientId, lastUsedAt, registeredAt } of all) {
    const key = String(name)
    if (keys.has(key)) continue
    const use = lastUsedAt === null ? `never used since ${registeredAt}` : `last used ${lastUsedAt}`
    const note = `clientId ${clientId}, ${use}`
    if (dryRun) {
      yield { key, kind: 'deleted', note: `${note}, if it is unused for ${unusedFor}`, lines: [] }
      continue
    }
    const answer = await registrations.delete(key, unusedFor)
    // A deletion whose answer got lost has been done.
    const isDeleted = answer.status === 204 || answer.status === 404
    yield { key, kind: isDeleted ? 'deleted' : 'refused', note, lines: isDeleted ? [] : refusal(answer).split('\n') }
  }
}

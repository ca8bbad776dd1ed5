import { type Answer, refusal } from '../cli/answer.ts'
import type { Declaration } from './declarations.ts'
import type { KeyedRegistrations } from './keyed-registrations.ts'
import { changedMemberLines, newMemberLines, type Outcome } from './outcome.ts'
import type { SecretsFile } from './secrets-file.ts'

export interface EntryOptions {
  dryRun: boolean
  allowShorter: boolean
  /** The place for what only one answer has. */
  secrets: SecretsFile | undefined
}

/**
 * Makes a registration what its declaration says.
 *
 * A secret is never printed. A declaration that would make one is refused before grantd makes it, unless there is a file to
 * keep it in.
 *
 * @throws Error when the service cannot be reached, or the token gives no right to do this
 */
export async function applyEntry(
  registrations: KeyedRegistrations,
  { key, body }: Declaration,
  { dryRun, allowShorter, secrets }: EntryOptions
): Promise<Outcome> {
  const found = await registrations.find(key)
  const takesClaim = body['deliver'] === 'claim'
  const makesSecret = found === undefined && !('publicKey' in body) && !('federated' in body)
  if (makesSecret && !takesClaim && secrets === undefined) return { key, kind: 'refused', note: '', lines: [NO_PLACE] }
  const answer = await registrations.put(key, body, { etag: etagOf(found), allowShorter, dryRun })
  if (answer.status === 412) return { key, kind: 'refused', note: '', lines: [CHANGED_MEANWHILE] }
  if (answer.status >= 300) return { key, kind: 'refused', note: '', lines: refusal(answer).split('\n') }
  const after = Object(answer.body)
  if (found !== undefined) {
    const lines = changedMemberLines(Object(found.body), after)
    const isChanged = lines.length > 0 || etagOf(answer) !== etagOf(found)
    return { key, kind: isChanged ? 'changed' : 'unchanged', note: noteOf(after), lines }
  }
  const { clientId, clientSecret, claim } = after
  if (clientSecret !== undefined || claim !== undefined) secrets?.keep({ key, clientId, clientSecret, claim })
  const lines = newMemberLines(body, after)
  if (makesSecret) lines.push(`${takesClaim ? 'claim ticket' : 'Client secret'}: ${secrets ? KEPT : DROPPED}`)
  const note = [...(dryRun ? [] : [`clientId ${clientId}`]), ...(after.enabled ? [] : [DISABLED])].join(', ')
  return { key, kind: 'created', note, lines }
}

/** Says why the client of an existing registration gets no tokens. */
function noteOf({ unclaimed, enabled, state }: Record<string, unknown>): string {
  const reasons = [
    ...(unclaimed ? [UNCLAIMED] : []),
    ...(enabled === false ? [DISABLED] : []),
    ...(state === 'expired' ? [EXPIRED] : [])
  ]
  return reasons.join(', ')
}

/** Returns the entity tag of an answer. A proxy that compresses may have weakened it, or dropped it. */
function etagOf(answer: Answer | undefined): string | undefined {
  return answer && (answer.headers.get('etag')?.replace(/^W\//, '') ?? '*')
}

const UNCLAIMED = 'unclaimed: nobody has its secret yet'
const DISABLED = 'disabled: its client gets no tokens'
const EXPIRED = 'expired: its client gets no tokens'
const CHANGED_MEANWHILE = 'It was created, changed or deleted while this command ran. Run the command again.'
const KEPT = 'in the secrets file'
const DROPPED = 'not kept, so create another when you hand the secret over'
const NO_PLACE =
  'It would get a Client secret, which only one answer has. Declare publicKey, federated or "deliver: claim", or name a new file by --secrets-file.'

import { registerHooks } from 'node:module'

/**
 * The control of the timing measure. It is loaded before the server and changes a source file as Node reads it: the
 * look-up leaves out unknown clients, which are refused once all others are answered, no decoy takes the place of a key,
 * and the verification of a token is remembered also for a caller that may not ask about it. grantd has no such switch.
 */

const CHANGES: readonly { file: string; before: string; after: string }[] = [
  {
    file: '/src/registrations/clients/repository.ts',
    before: ".leftJoin('registrations', 'registrations.client_id', 'wanted.client_id')",
    after: ".innerJoin('registrations', 'registrations.client_id', 'wanted.client_id')"
  },
  {
    file: '/src/oauth/token/cache/client-lookup.ts',
    before: "if (row === undefined) throw new Error('the look-up left out a client')",
    after: 'if (row === undefined) return { client_id: clientId, is_registered: false }'
  },
  {
    file: '/src/oauth/client-authentication/look-up-client.ts',
    before: 'const matched = proof.match(row)',
    after: 'const matched = row.is_registered ? proof.match(row) : undefined'
  },
  {
    file: '/src/oauth/client-authentication/key-assertion.ts',
    before: 'this.#signature.padTo(VERIFIED.refused)',
    after: ''
  },
  {
    file: '/src/oauth/issued-tokens/verified-tokens.ts',
    before: 'const token = remembered ?? this.#verify(text)',
    after: 'const token = remembered ?? this.#verify(text); if (token !== undefined) this.#remembered.set(id, token)'
  }
]

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context)
    const change = CHANGES.find(({ file }) => url.endsWith(file))
    if (change === undefined) return loaded
    const source = String(loaded.source)
    if (!source.includes(change.before)) throw new Error(`${change.file} has no "${change.before}" to change`)
    return { ...loaded, source: source.replace(change.before, change.after) }
  }
})

import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { ROOT } from '../fixtures/run/paths.ts'
import { exampleOf, holdsAgainst, startIssuer } from './tokens.ts'

/** From here, the example finds jose as a program of its own would. */
const FOLDER = path.join(ROOT, 'node_modules/.cache/verifiers')

t.test('Node.js with jose verifies the tokens for its audience only', async t => {
  const tokens = await startIssuer(t)
  const file = path.join(FOLDER, 'jose.mjs')
  mkdirSync(FOLDER, { recursive: true })
  t.teardown(() => rmSync(file))
  writeFileSync(file, exampleOf('Node.js with jose', tokens.issuer, {}))
  const { verify } = await import(pathToFileURL(file).href)
  const accepts = async (token: string | undefined): Promise<boolean> =>
    verify(token).then(
      () => true,
      () => false
    )
  await holdsAgainst(t, accepts, tokens)
})

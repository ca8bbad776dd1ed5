import { rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Test } from 'tap'
import { freePort } from '../fixtures/app/app.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { exampleOf, type Replacements } from './page.ts'
import { startProgram } from './program.ts'

/** `npm run test:verifiers` installs the packages of the examples here. Below test/, their own tests would be found. */
export const FOLDER = path.join(ROOT, 'node_modules/.cache/verifiers')

/** Starts an example for Node.js. @returns the port that it listens on */
export async function startNodeExample(
  t: Test,
  heading: string,
  replacements: Replacements,
  environment: Record<string, string> = {}
): Promise<number> {
  const port = await freePort()
  const file = path.join(FOLDER, `${port}.mjs`)
  writeFileSync(file, exampleOf(heading, { ...replacements, 'listen(4000': `listen(${port}` }))
  t.teardown(() => rmSync(file))
  // Express reports each refusal otherwise.
  startProgram(t, process.execPath, [file], { NODE_ENV: 'test', ...environment })
  return port
}

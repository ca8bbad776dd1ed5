import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/**
 * Reads a file that holds a secret, or creates it with mode 0600. When several processes create it at once, all read the
 * file of the first.
 */
export async function keepSecretFile(file: string, make: () => Promise<string>): Promise<string> {
  const known = readIfThere(file)
  if (known !== undefined) return known
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
  const unfinished = `${file}.${process.pid}`
  writeFileSync(unfinished, await make(), { mode: 0o600 })
  try {
    linkSync(unfinished, file)
  } catch (error) {
    if (readIfThere(file) === undefined) throw error
  } finally {
    rmSync(unfinished, { force: true })
  }
  return readFileSync(file, 'utf8')
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/**
 * Reads a file that holds a secret, or makes it (mode 0600). Of several processes that make it at once,
 * all read the one that was first.
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

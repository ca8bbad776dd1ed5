import { renameSync, writeFileSync } from 'node:fs'

/** Writes a file that its reader sees only when it is complete. */
export function writeWhole(file: string, content: string): void {
  writeFileSync(`${file}.part`, content)
  renameSync(`${file}.part`, file)
}

import { writeFileSync } from 'node:fs'

/** Loaded into a server under soak: on SIGUSR2 it collects garbage and writes to HEAP_FILE how much is left, in bytes. */
const { HEAP_FILE = '' } = process.env

process.on('SIGUSR2', () => {
  globalThis.gc?.()
  writeFileSync(HEAP_FILE, String(process.memoryUsage().heapUsed))
})

import { writeWhole } from './write-whole.ts'

/** Loaded into a server under soak. On SIGUSR2 it collects garbage and writes the bytes of heap in use to HEAP_FILE. */
const { HEAP_FILE = '' } = process.env

process.on('SIGUSR2', () => {
  globalThis.gc?.()
  writeWhole(HEAP_FILE, String(process.memoryUsage().heapUsed))
})

import { Session } from 'node:inspector/promises'
import { writeWhole } from './write-whole.ts'

/** Loaded into a server that is profiled. SIGUSR2 starts the CPU profiler, and the next one writes PROFILE_FILE. */
const { PROFILE_FILE = '' } = process.env
const SAMPLING_INTERVAL_US = 200
const session = new Session()
session.connect()
let isProfiling = false

process.on('SIGUSR2', async () => {
  isProfiling = !isProfiling
  if (isProfiling) {
    await session.post('Profiler.enable')
    await session.post('Profiler.setSamplingInterval', { interval: SAMPLING_INTERVAL_US })
    await session.post('Profiler.start')
  } else {
    const { profile } = await session.post('Profiler.stop')
    writeWhole(PROFILE_FILE, JSON.stringify(profile))
  }
})

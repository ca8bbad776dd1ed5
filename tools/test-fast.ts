import { spawnSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'

/** `npm run test:fast`: the tests that start no process of their own and wait for no real time limit. About a minute. */

const ROOT = path.join(import.meta.dirname, '..')
/** Tests that wait for real time limits, or try many random runs. */
const SLOW = [
  'test/attacks/slow.test.ts',
  'test/conformance/any-bytes.test.ts',
  'test/signing-keys/rotation.model.test.ts',
  'test/model/',
  'test/faults/',
  'test/bench/'
]
/** An import of one of these starts a process. */
const STARTS_A_PROCESS = /from '(node:child_process|[./]*\/src\/development\/embedded-postgres\.ts)'/

function startsProcess(file: string, seen = new Set<string>()): boolean {
  if (seen.has(file)) return false
  seen.add(file)
  const text = readFileSync(path.join(ROOT, file), 'utf8')
  if (STARTS_A_PROCESS.test(text)) return true
  const targets = [...text.matchAll(/^import (?!type ).*?from '(\.[^']+)'|^\} from '(\.[^']+)'/gm)].map(
    ([, target, wrapped]) => path.join(path.dirname(file), target ?? wrapped ?? '')
  )
  return targets.filter(target => target.startsWith('test/')).some(target => startsProcess(target, seen))
}

const files = globSync('test/**/*.test.ts', { cwd: ROOT })
  .filter(file => !SLOW.some(prefix => file.startsWith(prefix)) && !startsProcess(file))
  .sort()
const { status } = spawnSync('npx', ['tap', ...files], { cwd: ROOT, stdio: 'inherit' })
process.exitCode = status ?? 1

// Before `npm start` and `npm test`: installs what package-lock.json says, unless that is what is installed.
// Plain JavaScript: it runs on whatever Node the machine has, before the project's own is there.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

const root = path.join(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), '..')
const marker = path.join(root, 'node_modules', '.installed-lock')
const wanted = createHash('sha256')
  .update(readFileSync(path.join(root, 'package-lock.json')))
  .digest('hex')
const installed = existsSync(marker) ? readFileSync(marker, 'utf8') : ''

if (installed !== wanted) {
  process.stderr.write('Installing dependencies, once: about a minute.\n')
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
    // Also what production leaves out: development and tests need it.
    env: { ...process.env, NODE_ENV: 'development', npm_config_omit: '', npm_config_ignore_scripts: 'false' }
  })
  if (status !== 0) {
    process.stderr.write('npm ci failed; what it printed above says why.\n')
    process.exit(status ?? 1)
  }
  writeFileSync(marker, wanted)
}

// `npm run test:admin-grid`: examples/admin-grid in a real browser, against a real service.
// With --screenshot it writes examples/admin-grid/screenshot.png.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type BrowserPage, openBrowserPage } from './chromium.ts'
import { freePort, type RunningService, startService } from './service.ts'

const EXAMPLE = path.join(import.meta.dirname, '../examples/admin-grid')
const DAY_MS = 86_400_000
/** How long the registration lives that the banner is about. */
const SHORT_MS = 3_000

/** The text of each cell. */
const ROWS = `Array.from(document.querySelectorAll('tbody tr'), row => Array.from(row.cells, cell => cell.textContent))`

const port = await freePort()
const origin = `http://127.0.0.1:${port}`
const service = await startService({ LOG_LEVEL: 'warn', ADMIN_CORS_ORIGINS: origin })
const server = spawn(process.execPath, [path.join(EXAMPLE, 'server.ts')], {
  env: { PATH: process.env['PATH'], PORT: String(port) },
  stdio: ['ignore', 'pipe', 'inherit']
})
const page = await openBrowserPage(1180, 830)
try {
  await once(server.stdout, 'data')
  await drive(page, service)
  process.stdout.write('1 passed, 0 failed\n')
} catch (error) {
  process.stderr.write(`admin grid: ${error instanceof Error ? error.stack : String(error)}\n`)
  process.stdout.write('0 passed, 1 failed\n')
  process.exitCode = 1
} finally {
  await page.close()
  server.kill()
  await service.stop()
}

/** @throws Error when the page shows something else than it should */
async function drive(page: BrowserPage, service: RunningService): Promise<void> {
  const { used, soon, disabled, expired } = await furnish(service)
  await page.open(origin)

  await signIn(page, service, 'not a token')
  await page.until(`document.querySelector('#problem').textContent === 'The bearer token is not valid.'`)

  await signIn(page, service, service.adminToken)
  await page.until(`document.querySelectorAll('tbody tr').length === 4`)
  await page.until(`document.querySelector('#problem').hidden`)
  const day = (instant: string) => instant.slice(0, 10)
  const start = ({ name, clientId, registeredAt, expiresAt }: Registered) =>
    [name, clientId, day(registeredAt), day(expiresAt)] as const
  assert.deepEqual(await page.evaluate(ROWS), [
    [...start(expired), 'never', 'expired'],
    [...start(soon), 'never', 'expires in 5 days'],
    [...start(disabled), 'never', 'disabled'],
    [...start(used), day(new Date().toISOString()), 'active']
  ])
  await page.until(
    `document.querySelector('#banner').textContent === 'Expired, and refused at the token endpoint: legacy importer.'`
  )

  await diagnose(page)
  if (process.argv.includes('--screenshot')) {
    writeFileSync(path.join(EXAMPLE, 'screenshot.png'), await page.takeScreenshot())
  }
  await renew(page, service, expired)
  await click(page, '[data-sort="name"]')
  await page.until(`document.querySelector('tbody td')?.textContent === '<b>device</b> sync'`)
  await page.evaluate(`{
    const search = document.querySelector('#search')
    search.value = 'legacy'
    search.dispatchEvent(new Event('change'))
  }`)
  await page.until(`document.querySelector('tbody td')?.textContent === 'legacy importer'`)

  assert.deepEqual(
    page.complaints.filter(complaint => !/status of (401|412)/.test(complaint)),
    []
  )
  assert.deepEqual(
    page.requests.filter(url => ![origin, service.baseUrl].includes(new URL(url).origin)),
    []
  )
}

/** The diagnosis says why the expired registration is refused, and which caller was refused. */
async function diagnose(page: BrowserPage): Promise<void> {
  // A refusal is written within ten seconds.
  const text = `document.querySelector('#details').innerText`
  await page.until(`(async () => {
    document.querySelector('tbody button').click()
    await new Promise(resolve => setTimeout(resolve, 500))
    return ${text}.includes('Last refused with its credential')
  })()`)
  const shown = String(await page.evaluate(text))
  assert.match(shown, /^legacy importer\n+The right credential is refused\.\nThe registration has expired\./)
  assert.match(shown, /Last refused with its credential: .*, expired, from 127\.0\.0\.1\. Refusals in all: 1\./)
}

/** A renewal ends the alert. It is refused when somebody else has changed the registration since it was shown. */
async function renew(page: BrowserPage, service: RunningService, expired: Registered): Promise<void> {
  await call(service, 'PATCH', `/${expired.clientId}`, { scopes: ['import'] })
  await click(page, '#renewal [type="submit"]')
  await page.until(`document.querySelector('#problem').textContent.startsWith('If-Match names another version.')`)
  await click(page, '#sign-in [type="submit"]')
  await page.until(`document.querySelectorAll('tbody tr').length === 4`)
  await click(page, 'tbody button')
  await page.until(`!document.querySelector('#details').hidden`)
  await click(page, '#renewal [type="submit"]')
  await page.until(`document.querySelector('tbody tr:last-child')?.innerText.endsWith('active')`)
  await page.until(`document.querySelector('tbody tr:last-child td')?.textContent === 'legacy importer'`)
  await page.until(`document.querySelector('#banner').hidden`)
}

interface Registered {
  name: string
  registeredAt: string
  expiresAt: string
  clientId: string
  clientSecret: string
}

/** Makes four registrations: one that is used, one that expires soon, a disabled one, and one that has expired and been refused. */
async function furnish(service: RunningService) {
  const create = (body: object) => call(service, 'POST', '', body)
  const soonOver = new Date(Date.now() + SHORT_MS).toISOString()
  const expired = await create({ name: 'legacy importer', expiresAt: soonOver })
  const used = await create({ name: 'billing export', expiresAt: inDays(300) })
  const soon = await create({ name: '<b>device</b> sync', expiresAt: inDays(5) })
  const disabled = await create({ name: 'yearly report', expiresAt: inDays(200), enabled: false })
  assert.equal(await exchange(service, used), 200)
  await sleep(SHORT_MS)
  assert.equal(await exchange(service, expired), 401)
  return { used, soon, disabled, expired }
}

async function call(service: RunningService, method: string, below: string, body: object): Promise<Registered> {
  const answer = await fetch(`${service.baseUrl}/v1/sites/acme/app-registrations${below}`, {
    method,
    headers: { authorization: `Bearer ${service.adminToken}`, 'content-type': 'application/json' },
    body: JSON.stringify(body)
  })
  if (!answer.ok) throw new Error(await answer.text())
  return JSON.parse(await answer.text())
}

async function exchange({ baseUrl }: RunningService, { clientId, clientSecret }: Registered): Promise<number> {
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: clientId,
    client_secret: clientSecret
  })
  return (await fetch(`${baseUrl}/oauth/token`, { method: 'POST', body })).status
}

function inDays(days: number): string {
  return new Date(Date.now() + days * DAY_MS).toISOString()
}

async function signIn(page: BrowserPage, { baseUrl }: RunningService, token: string): Promise<void> {
  await page.evaluate(`{
    const form = document.querySelector('#sign-in')
    form.baseUrl.value = ${JSON.stringify(baseUrl)}
    form.token.value = ${JSON.stringify(token)}
    form.requestSubmit()
  }`)
}

async function click(page: BrowserPage, selector: string): Promise<void> {
  await page.evaluate(`document.querySelector(${JSON.stringify(selector)}).click()`)
}

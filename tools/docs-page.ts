// `npm run test:docs-page`: grantd as a process, /docs in a real browser. An empty page has status 200 too.
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse } from 'yaml'
import { type BrowserPage, openBrowserPage } from './chromium.ts'
import { memberOf } from './devtools.ts'
import { startService } from './service.ts'

const ROOT = path.join(import.meta.dirname, '..')
const HOST = '127.0.0.1'
const RENDER_TIMEOUT_MS = 30_000
const POLL_INTERVAL_MS = 100
/** Time for late failures to show after the last text has come, such as a request that follows. */
const SETTLE_MS = 1_000
/** Parts of the library that would send a reader, or the document, to its vendor. */
const UNWANTED_TEXTS = ['Powered by Scalar', 'Ask AI', 'Generate MCP', 'Connect MCP', 'Deploy', 'Open API Client']

/** Over and over: the page grows while it is read. */
const SCROLL_AND_READ_HEADINGS = `{
  const isAtEnd = scrollY + innerHeight >= document.documentElement.scrollHeight - 1
  scrollTo(0, isAtEnd ? 0 : scrollY + innerHeight)
  Array.from(document.querySelectorAll('h1, h2, h3, h4'), heading => heading.innerText).join('\\n')
}`

const faults = await findFaults().catch(error => [error instanceof Error ? error.message : String(error)])
for (const fault of faults) process.stderr.write(`docs page: ${fault}\n`)
process.exitCode = faults.length === 0 ? 0 : 1
process.stdout.write(faults.length === 0 ? '1 passed, 0 failed\n' : '0 passed, 1 failed\n')

async function findFaults(): Promise<string[]> {
  const service = await startService({ LOG_LEVEL: 'warn' })
  try {
    const page = await openBrowserPage(1440, 1000)
    try {
      return await findFaultsOf(page, `${service.baseUrl}/docs`)
    } finally {
      await page.close()
    }
  } finally {
    await service.stop()
  }
}

async function findFaultsOf(page: BrowserPage, url: string): Promise<string[]> {
  const summaries = operationSummaries(parse(readFileSync(path.join(ROOT, 'openapi.yaml'), 'utf8')))
  const startedAt = Date.now()
  await page.open(url)
  const headings = await headingsOnceShown(page, summaries)
  const renderedMs = Date.now() - startedAt
  await page.evaluate('scrollTo(0, 0)')
  await sleep(SETTLE_MS)
  const text = String(await page.evaluate('document.body.innerText'))
  const screenshot = path.join(mkdtempSync(path.join(os.tmpdir(), 'grantd-docs-page-')), 'docs.png')
  writeFileSync(screenshot, await page.takeScreenshot())
  process.stdout.write(`${summaries.length} operations, all shown after ${renderedMs} ms, screenshot ${screenshot}\n`)
  return [
    ...summaries.filter(summary => !headings.includes(summary)).map(summary => `does not show "${summary}"`),
    ...UNWANTED_TEXTS.filter(unwanted => text.includes(unwanted)).map(unwanted => `shows "${unwanted}"`),
    ...page.requests
      .filter(request => new URL(request).hostname !== HOST)
      .map(request => `asked another host: ${request}`),
    ...page.complaints
  ]
}

/** @throws when there is none: a page with nothing to show would pass */
function operationSummaries(openapi: unknown): string[] {
  const summaries = membersOf(memberOf(openapi, 'paths'))
    .flatMap(membersOf)
    .map(operation => memberOf(operation, 'summary'))
    .filter(summary => typeof summary === 'string')
  if (summaries.length === 0) throw new Error('openapi.yaml has no operation with a summary')
  return summaries
}

function membersOf(value: unknown): unknown[] {
  return typeof value === 'object' && value !== null ? Object.values(value) : []
}

/**
 * Scrolls until every heading in `wanted` has come, or the time is over: operations are rendered when they come into
 * view. Headings, because the sidebar has the same words without the operations.
 */
async function headingsOnceShown(page: BrowserPage, wanted: readonly string[]): Promise<string> {
  const deadline = Date.now() + RENDER_TIMEOUT_MS
  while (true) {
    const headings = String(await page.evaluate(SCROLL_AND_READ_HEADINGS))
    if (wanted.every(heading => headings.includes(heading)) || Date.now() > deadline) return headings
    await sleep(POLL_INTERVAL_MS)
  }
}

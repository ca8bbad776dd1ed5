// `npm run test:docs-page`: grantd as a process, /docs in a real browser. An empty page has status 200 too.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse } from 'yaml'

const ROOT = path.join(import.meta.dirname, '..')
const HOST = '127.0.0.1'
const WINDOW_SIZE = '1440,1000'
const START_TIMEOUT_MS = 60_000
const RENDER_TIMEOUT_MS = 30_000
const REPLY_TIMEOUT_MS = 30_000
const STOP_TIMEOUT_MS = 10_000
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

/** Undone in reverse order, however the test ends. */
const cleanups: (() => Promise<void>)[] = []

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void cleanUp().finally(() => process.exit(1)))
}
process.exitCode = (await passes()) ? 0 : 1
process.stdout.write(process.exitCode === 0 ? '1 passed, 0 failed\n' : '0 passed, 1 failed\n')

async function passes(): Promise<boolean> {
  try {
    const faults = await faultsOfDocsPage()
    for (const fault of faults) process.stderr.write(`docs page: ${fault}\n`)
    return faults.length === 0
  } catch (error) {
    process.stderr.write(`docs page: ${error instanceof Error ? error.message : String(error)}\n`)
    return false
  } finally {
    await cleanUp()
  }
}

async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) {
    await cleanup().catch(error => process.stderr.write(`docs page: cleaning up failed: ${error}\n`))
  }
}

async function faultsOfDocsPage(): Promise<string[]> {
  const summaries = operationSummaries(parse(await readFile(path.join(ROOT, 'openapi.yaml'), 'utf8')))
  const chromium = findChromium()
  const origin = await startGrantd()
  const browser = await startBrowser(chromium)
  const seen = await visit(browser, `${origin}/docs`, summaries)
  process.stdout.write(
    `${summaries.length} operations, all shown after ${seen.renderedMs} ms, screenshot ${seen.screenshot}\n`
  )
  return [
    ...summaries.filter(summary => !seen.headings.includes(summary)).map(summary => `does not show "${summary}"`),
    ...UNWANTED_TEXTS.filter(text => seen.text.includes(text)).map(text => `shows "${text}"`),
    ...seen.requests.filter(isElsewhere).map(url => `asked another host: ${url}`),
    ...seen.complaints
  ]
}

/** @throws when there is none: a page with nothing to show would pass */
function operationSummaries(openapi: unknown): string[] {
  const summaries = membersOf(at(openapi, 'paths'))
    .flatMap(membersOf)
    .map(operation => at(operation, 'summary'))
    .filter(summary => typeof summary === 'string')
  if (summaries.length === 0) throw new Error('openapi.yaml has no operation with a summary')
  return summaries
}

function isElsewhere(url: string): boolean {
  const { protocol, hostname } = new URL(url)
  return !['data:', 'blob:', 'about:'].includes(protocol) && hostname !== HOST
}

/** @throws when there is none and none can be installed: a browser test without a browser must not pass */
function findChromium(): string {
  const given = process.env['CHROMIUM']
  if (given) return given
  const found = installedChromium()
  if (found !== undefined) return found
  if (process.getuid?.() === 0 && findCommand('apt-get') !== undefined) installChromium()
  const installed = installedChromium()
  if (installed !== undefined) return installed
  throw new Error('no Chromium found: install it ("apt-get install chromium"), or name one in CHROMIUM')
}

function installedChromium(): string | undefined {
  return findCommand('chromium') ?? findCommand('chromium-browser') ?? findCommand('google-chrome')
}

function findCommand(name: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter).filter(Boolean)
  return folders.map(folder => path.join(folder, name)).find(isExecutable)
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function installChromium(): void {
  process.stdout.write('Installing Chromium, once.\n')
  for (const args of [['update'], ['install', '-y', '--no-install-recommends', 'chromium', 'fonts-liberation']]) {
    const { status, stderr } = spawnSync('apt-get', args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8',
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    })
    if (status !== 0) throw new Error(`no Chromium found, and "apt-get ${args.join(' ')}" failed: ${stderr}`)
  }
}

/** @returns the origin of a grantd that is ready */
async function startGrantd(): Promise<string> {
  const dataFolder = await temporaryFolder('grantd-docs-data-')
  const port = await freePort()
  // Nothing of the caller's configuration: this is grantd as somebody starts it who has just cloned it.
  const { PATH, HOME } = process.env
  const grantd = start(process.execPath, ['src/commands/start.ts'], {
    ...{ PATH, HOME, HOST },
    PORT: String(port),
    DATA_DIR: dataFolder,
    LOG_LEVEL: 'warn'
  })
  const origin = `http://${HOST}:${port}`
  await until(START_TIMEOUT_MS, 'grantd is not ready', grantd, async () => {
    const response = await fetch(`${origin}/health/ready`).catch(() => undefined)
    return response?.ok || undefined
  })
  return origin
}

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, HOST)
  await new Promise(resolve => listener.once('listening', resolve))
  const address = listener.address()
  await new Promise(resolve => listener.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no free port')
  return address.port
}

async function temporaryFolder(prefix: string): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), prefix))
  // Postgres and Chromium may still write for a moment after their parents have gone.
  cleanups.push(() => rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }))
  return folder
}

interface Started {
  child: ChildProcess
  /** Returns all that the process has printed so far. */
  output: () => string
}

function start(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Started {
  const child = spawn(command, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] })
  cleanups.push(() => stop(child))
  let output = ''
  child.on('error', error => {
    output += error.message
  })
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk
    })
  }
  return { child, output: () => output }
}

function hasEnded({ exitCode, signalCode, pid }: ChildProcess): boolean {
  return pid === undefined || exitCode !== null || signalCode !== null
}

async function stop(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return
  const ended = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGTERM')
  const killing = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
  await ended
  clearTimeout(killing)
}

/** Polls until `find` finds something. @throws at the end of the time, or of the process */
async function until<T>(
  timeoutMs: number,
  failure: string,
  { child, output }: Started,
  find: () => Promise<T | undefined>
): Promise<T> {
  const deadline = Date.now() + timeoutMs
  while (Date.now() < deadline) {
    const found = await find()
    if (found !== undefined) return found
    await sleep(POLL_INTERVAL_MS)
    if (hasEnded(child)) break
  }
  throw new Error(`${failure}; it wrote:\n${output()}`)
}

/** A page of a browser, spoken to in the DevTools protocol. */
interface Browser {
  /** @throws when the browser refuses or does not answer */
  send: (method: string, params?: object) => Promise<unknown>
  listen: (listener: (method: string, params: unknown) => void) => void
}

async function startBrowser(chromium: string): Promise<Browser> {
  const profile = await temporaryFolder('grantd-docs-profile-')
  const chrome = start(
    chromium,
    [
      '--headless=new',
      '--remote-debugging-port=0',
      `--user-data-dir=${profile}`,
      `--window-size=${WINDOW_SIZE}`,
      '--disable-dev-shm-usage',
      '--disable-gpu',
      '--no-first-run',
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
      'about:blank'
    ],
    { ...process.env, HOME: profile }
  )
  const address = await until(
    START_TIMEOUT_MS,
    `${chromium} does not start`,
    chrome,
    async () => /DevTools listening on (ws:\S+)/.exec(chrome.output())?.[1]
  )
  return openPage(await connect(address))
}

async function connect(address: string): Promise<WebSocket> {
  const socket = new WebSocket(address)
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve, { once: true })
    socket.addEventListener('error', () => reject(new Error('Chromium does not take the connection')), { once: true })
  })
  cleanups.push(async () => socket.close())
  return socket
}

async function openPage(socket: WebSocket): Promise<Browser> {
  const browser = speak(socket)
  const targetId = at(await browser.send('Target.createTarget', { url: 'about:blank' }), 'targetId')
  const sessionId = at(await browser.send('Target.attachToTarget', { targetId, flatten: true }), 'sessionId')
  return { ...browser, send: (method, params) => browser.send(method, params, sessionId) }
}

function speak(socket: WebSocket) {
  const waiting = new Map<unknown, { resolve: (result: unknown) => void; reject: (error: Error) => void }>()
  const listeners: ((method: string, params: unknown) => void)[] = []
  socket.addEventListener('message', ({ data }) => {
    const message: unknown = JSON.parse(String(data))
    const method = at(message, 'method')
    if (typeof method === 'string') for (const listener of listeners) listener(method, at(message, 'params'))
    const failure = at(message, 'error', 'message')
    const reply = waiting.get(at(message, 'id'))
    if (failure === undefined) reply?.resolve(at(message, 'result'))
    else reply?.reject(new Error(String(failure)))
  })
  let lastId = 0
  const send = (method: string, params: object = {}, sessionId?: unknown): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const id = ++lastId
      const timer = setTimeout(() => reject(new Error(`Chromium does not answer ${method}`)), REPLY_TIMEOUT_MS)
      const settled = () => {
        clearTimeout(timer)
        waiting.delete(id)
      }
      waiting.set(id, {
        resolve: result => {
          settled()
          resolve(result)
        },
        reject: error => {
          settled()
          reject(error)
        }
      })
      socket.send(JSON.stringify({ id, method, params, sessionId }))
    })
  return { send, listen: (listener: (method: string, params: unknown) => void) => void listeners.push(listener) }
}

interface Seen {
  headings: string
  text: string
  renderedMs: number
  /** URL of every request, those which the policy stopped too. */
  requests: string[]
  /** Console errors, exceptions and violations of the policy. */
  complaints: string[]
  /** Path of a picture, which stays. */
  screenshot: string
}

async function visit(browser: Browser, url: string, wanted: readonly string[]): Promise<Seen> {
  const requests: string[] = []
  const complaints: string[] = []
  browser.listen((method, params) => {
    if (method === 'Network.requestWillBeSent') requests.push(String(at(params, 'request', 'url')))
    const complaint = complaintOf(method, params)
    if (complaint !== undefined) complaints.push(complaint)
  })
  for (const domain of ['Page', 'Runtime', 'Network', 'Log', 'Audits']) await browser.send(`${domain}.enable`)
  const startedAt = Date.now()
  await browser.send('Page.navigate', { url })
  const headings = await headingsOnceShown(browser, wanted)
  const renderedMs = Date.now() - startedAt
  await evaluate(browser, 'scrollTo(0, 0)')
  await sleep(SETTLE_MS)
  const text = String(await evaluate(browser, 'document.body.innerText'))
  return { headings, text, renderedMs, requests, complaints, screenshot: await takeScreenshot(browser) }
}

function complaintOf(method: string, params: unknown): string | undefined {
  switch (method) {
    case 'Runtime.exceptionThrown':
      return `exception: ${at(params, 'exceptionDetails', 'exception', 'description') ?? JSON.stringify(params)}`
    case 'Runtime.consoleAPICalled':
      if (at(params, 'type') !== 'error') return undefined
      return `console error: ${JSON.stringify(at(params, 'args'))}`
    case 'Log.entryAdded':
      if (at(params, 'entry', 'level') !== 'error') return undefined
      return `log error: ${at(params, 'entry', 'text')} ${at(params, 'entry', 'url') ?? ''}`
    case 'Audits.issueAdded':
      if (at(params, 'issue', 'code') !== 'ContentSecurityPolicyIssue') return undefined
      return `content security policy: ${JSON.stringify(at(params, 'issue', 'details', 'contentSecurityPolicyIssueDetails'))}`
    default:
      return undefined
  }
}

/**
 * Scrolls until every heading in `wanted` has come, or the time is over: operations are rendered when they come into
 * view. Headings, because the sidebar has the same words without the operations.
 */
async function headingsOnceShown(browser: Browser, wanted: readonly string[]): Promise<string> {
  const deadline = Date.now() + RENDER_TIMEOUT_MS
  while (true) {
    const headings = String(await evaluate(browser, SCROLL_AND_READ_HEADINGS))
    if (wanted.every(heading => headings.includes(heading)) || Date.now() > deadline) return headings
    await sleep(POLL_INTERVAL_MS)
  }
}

async function evaluate(browser: Browser, expression: string): Promise<unknown> {
  return at(await browser.send('Runtime.evaluate', { expression, returnByValue: true }), 'result', 'value')
}

async function takeScreenshot(browser: Browser): Promise<string> {
  const picture = at(await browser.send('Page.captureScreenshot', { format: 'png' }), 'data')
  const file = path.join(await mkdtemp(path.join(os.tmpdir(), 'grantd-docs-page-')), 'docs.png')
  await writeFile(file, Buffer.from(String(picture), 'base64'))
  return file
}

function at(value: unknown, ...names: string[]): unknown {
  return names.reduce<unknown>(
    (inner, name) => (typeof inner === 'object' && inner !== null ? Reflect.get(inner, name) : undefined),
    value
  )
}

function membersOf(value: unknown): unknown[] {
  return typeof value === 'object' && value !== null ? Object.values(value) : []
}

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectDevTools, type DevTools, memberOf } from './devtools.ts'

const START_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 10_000
const RENDER_TIMEOUT_MS = 30_000
const POLL_INTERVAL_MS = 100

/** A page in a real Chromium. */
export interface BrowserPage {
  /** URL of every request to a host, also of those that the page's policy stopped. */
  requests: readonly string[]
  /** Console errors, exceptions and violations of the policy. */
  complaints: readonly string[]
  /** Returns when the page and its scripts are loaded. */
  open: (url: string) => Promise<void>
  /** Returns the value of an expression in the page. @throws Error when it throws */
  evaluate: (expression: string) => Promise<unknown>
  /** Waits until an expression is true in the page. @throws Error after 30 s */
  until: (expression: string) => Promise<void>
  /** @returns the visible part as PNG */
  takeScreenshot: () => Promise<Buffer>
  /** Ends the browser. */
  close: () => Promise<void>
}

/** Starts a Chromium without a window. @throws Error when there is none and none can be installed */
export async function openBrowserPage(width: number, height: number): Promise<BrowserPage> {
  const profile = await mkdtemp(path.join(os.tmpdir(), 'grantd-chromium-'))
  const chromium = spawn(
    findChromium(),
    [
      ...['--headless=new', '--remote-debugging-port=0', `--user-data-dir=${profile}`],
      ...[`--window-size=${width},${height}`, '--hide-scrollbars'],
      ...['--disable-dev-shm-usage', '--disable-gpu', '--no-first-run'],
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
      'about:blank'
    ],
    { env: { ...process.env, HOME: profile }, stdio: ['ignore', 'ignore', 'pipe'] }
  )
  const close = async () => {
    await stop(chromium)
    // Chromium's processes may still write for a moment after the first one has gone.
    await rm(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  }
  try {
    const devTools = await connectDevTools(await debuggingAddress(chromium))
    return { ...(await watchPage(devTools)), close }
  } catch (error) {
    await close()
    throw error
  }
}

async function watchPage(devTools: DevTools): Promise<Omit<BrowserPage, 'close'>> {
  const requests: string[] = []
  const complaints: string[] = []
  devTools.listen((method, params) => {
    const url = String(memberOf(params, 'request', 'url'))
    if (method === 'Network.requestWillBeSent' && /^(https?|wss?):/.test(url)) requests.push(url)
    const complaint = complaintOf(method, params)
    if (complaint !== undefined) complaints.push(complaint)
  })
  for (const domain of ['Page', 'Runtime', 'Network', 'Log', 'Audits']) await devTools.send(`${domain}.enable`)
  const evaluate = async (expression: string): Promise<unknown> => {
    const answer = await devTools.send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true })
    const exception = memberOf(answer, 'exceptionDetails', 'exception', 'description')
    if (exception !== undefined) throw new Error(`${expression}: ${exception}`)
    return memberOf(answer, 'result', 'value')
  }
  const until = async (expression: string): Promise<void> => {
    for (const deadline = Date.now() + RENDER_TIMEOUT_MS; Date.now() < deadline; await sleep(POLL_INTERVAL_MS)) {
      if ((await evaluate(expression)) === true) return
    }
    throw new Error(`never true: ${expression}; the page complains: ${complaints.join(', ')}`)
  }
  return {
    requests,
    complaints,
    open: async url => {
      await devTools.send('Page.navigate', { url })
      await until("document.readyState === 'complete'")
    },
    evaluate,
    until,
    takeScreenshot: async () => {
      const picture = await devTools.send('Page.captureScreenshot', { format: 'png' })
      return Buffer.from(String(memberOf(picture, 'data')), 'base64')
    }
  }
}

function complaintOf(method: string, params: unknown): string | undefined {
  switch (method) {
    case 'Runtime.exceptionThrown':
      return `exception: ${memberOf(params, 'exceptionDetails', 'exception', 'description') ?? JSON.stringify(params)}`
    case 'Runtime.consoleAPICalled':
      if (memberOf(params, 'type') !== 'error') return undefined
      return `console error: ${JSON.stringify(memberOf(params, 'args'))}`
    case 'Log.entryAdded':
      if (memberOf(params, 'entry', 'level') !== 'error') return undefined
      return `log error: ${memberOf(params, 'entry', 'text')} ${memberOf(params, 'entry', 'url') ?? ''}`
    case 'Audits.issueAdded':
      if (memberOf(params, 'issue', 'code') !== 'ContentSecurityPolicyIssue') return undefined
      return `content security policy: ${JSON.stringify(memberOf(params, 'issue', 'details', 'contentSecurityPolicyIssueDetails'))}`
    default:
      return undefined
  }
}

/** @throws Error when Chromium ends, or says no address in time */
async function debuggingAddress(chromium: ChildProcess): Promise<string> {
  const timer = setTimeout(() => chromium.kill('SIGKILL'), START_TIMEOUT_MS)
  const said: string[] = []
  try {
    if (chromium.stderr === null) throw new Error('Chromium has no standard error')
    for await (const line of createInterface(chromium.stderr)) {
      said.push(line)
      const [, address] = /DevTools listening on (ws:\S+)/.exec(line) ?? []
      if (address === undefined) continue
      chromium.stderr.resume()
      return address
    }
    throw new Error(`Chromium does not start:\n${said.join('\n')}`)
  } finally {
    clearTimeout(timer)
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  const killing = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
  await ended
  clearTimeout(killing)
}

/** @throws Error when there is none and none can be installed: a browser test without a browser must not pass */
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

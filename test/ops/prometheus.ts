import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import { freePort } from '../fixtures/app/app.ts'
import type { Needs } from '../fixtures/faults/debian.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'
import { until } from '../fixtures/run/until.ts'
import { ALERTS_FILE } from './rules.ts'

/** The package of Debian has both. */
export const PROMETHEUS: Needs = { prometheus: 'prometheus', promtool: 'prometheus' }

/** Labels of a series, and its values by instant, seconds since the epoch. */
export interface Series {
  metric: Record<string, string>
  values: [at: number, value: string][]
}

/** A Prometheus that scrapes every second, and evaluates ops/alerts.yml as often. */
export class Prometheus {
  readonly #baseUrl: string

  constructor(baseUrl: string) {
    this.#baseUrl = baseUrl
  }

  /** Returns the series of an expression now, each with one value. */
  async query(expression: string): Promise<Series[]> {
    const result: (Pick<Series, 'metric'> & { value: [number, string] })[] = await this.#ask('query', {
      query: expression
    })
    return result.map(({ metric, value }) => ({ metric, values: [value] }))
  }

  /** Returns the series of an expression, with a value for each second. @param from seconds since the epoch */
  queryRange(expression: string, from: number, to: number): Promise<Series[]> {
    return this.#ask('query_range', { query: expression, start: String(from), end: String(to), step: '1' })
  }

  async #ask<Result>(kind: string, parameters: Record<string, string>): Promise<Result> {
    const answer = await fetch(`${this.#baseUrl}/api/v1/${kind}`, {
      method: 'POST',
      body: new URLSearchParams(parameters)
    })
    const { data, error } = JSON.parse(await answer.text())
    if (data === undefined) throw new Error(`${parameters['query']}: ${error}`)
    return data.result
  }
}

/** Starts Prometheus with these targets, as the job "grantd". It ends with the test. */
export async function startPrometheus(t: Test, targets: readonly string[]): Promise<Prometheus> {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'prometheus.yml')
  writeFileSync(
    file,
    stringify({
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: [ALERTS_FILE],
      scrape_configs: [{ job_name: 'grantd', static_configs: [{ targets }] }]
    })
  )
  const address = `127.0.0.1:${await freePort()}`
  const child = spawn(
    'prometheus',
    [`--config.file=${file}`, `--storage.tsdb.path=${path.join(folder, 'data')}`, `--web.listen-address=${address}`],
    { stdio: ['ignore', 'ignore', 'pipe'] }
  )
  let log = ''
  child.stderr.on('data', chunk => (log += chunk))
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGTERM')
    await exited
  })
  await until('Prometheus is ready', async () => {
    if (child.exitCode !== null) throw new Error(`Prometheus ended: ${log}`)
    return fetch(`http://${address}/-/ready`).then(
      ({ ok }) => ok,
      () => false
    )
  })
  return new Prometheus(`http://${address}`)
}

import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { startService } from './service.ts'

/** Writes the table of metrics into docs/operate.md, from what a running grantd answers at `/metrics`. */

export const OPERATE_FILE = path.join(import.meta.dirname, '../docs/operate.md')

const TABLE = /(<!-- metrics: npm run docs -->\n)[\s\S]*?(<!-- end -->)/
const FAMILY = /^# HELP (\w+) (.*)\n# TYPE \w+ (\w+)\n((?:\w.*\n)*)/gm

/** Returns this page with the table of the metrics that grantd has now. @param environment of that grantd */
export async function withMetrics(page: string, environment: Record<string, string> = {}): Promise<string> {
  const { baseUrl, metricsUrl, stop } = await startService(environment)
  try {
    // Some metrics exist from the first request on.
    await fetch(`${baseUrl}/v1/app-registrations`)
    const exposition = await (await fetch(metricsUrl)).text()
    const rows = [...exposition.matchAll(FAMILY)].map(([, name, help, type, samples = '']) => {
      const labels = [...new Set([...samples.matchAll(/[{,](\w+)="/g)].map(([, label = '']) => label))]
      const shown = labels.filter(label => label !== 'le').map(label => `\`${label}\``)
      return `| \`${name}\` | ${type} | ${shown.join(', ')} | ${help} |`
    })
    const table = ['| metric | type | labels | meaning |', '|---|---|---|---|', ...rows.sort()].join('\n')
    return page.replace(TABLE, (_, start: string, end: string) => `${start}\n${table}\n\n${end}`)
  } finally {
    await stop()
  }
}

if (process.argv[1] === import.meta.filename) {
  writeFileSync(OPERATE_FILE, await withMetrics(readFileSync(OPERATE_FILE, 'utf8')))
}

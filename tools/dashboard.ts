import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/**
 * `node tools/dashboard.ts` draws docs/dashboard.svg: the panels of ops/dashboard.json, with what Prometheus answered in
 * the latest `npm run test:ops -- monitoring`.
 */

const ROOT = path.join(import.meta.dirname, '..')
/** Where the test leaves the answers. */
export const PANELS_FILE = path.join(ROOT, '.tap/grantd/panels.json')
const PICTURE_FILE = path.join(ROOT, 'docs/dashboard.svg')

export interface DrawnPanel {
  title: string
  /** Of Grafana. */
  unit: string
  lines: Line[]
}

interface Line {
  name: string
  /** Seconds since the epoch, and a number as text. */
  values: [at: number, value: string][]
}

const COLUMNS = 3
const PANEL = { width: 320, height: 208 }
const GAP = 12
/** The area of the lines within a panel. */
const PLOT = { left: 48, top: 34, width: 260, height: 104 }
const LEGEND = { top: 158, rowHeight: 14, rows: 3, columnWidth: 152, maxLetters: 24 }
const COLOURS = ['#3b82c4', '#d9822b', '#2e9e6b', '#c2455e', '#8a63c9', '#8c8c2a']

/** Colours follow the reader's preference for light or dark. */
const STYLE = `
  text { font: 11px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #59636e }
  .title { font-weight: 600; font-size: 13px; fill: #1f2328 }
  .panel { fill: #ffffff; stroke: #d1d9e0 }
  .axis { stroke: #d1d9e0 }
  polyline { fill: none; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1 }
    .title { fill: #f0f6fc }
    .panel { fill: #0d1117; stroke: #3d444d }
    .axis { stroke: #3d444d }
  }`

/** Draws panels of lines over the same time, as an SVG for light and dark. */
export function drawDashboard(panels: readonly DrawnPanel[]): string {
  const rows = Math.ceil(panels.length / COLUMNS)
  const width = COLUMNS * (PANEL.width + GAP) - GAP
  const height = rows * (PANEL.height + GAP) - GAP
  const instants = panels.flatMap(({ lines }) => lines.flatMap(({ values }) => values.map(([at]) => at)))
  const time = { from: Math.min(...instants), to: Math.max(...instants) }
  const drawn = panels.map((panel, index) => {
    const x = (index % COLUMNS) * (PANEL.width + GAP)
    const y = Math.floor(index / COLUMNS) * (PANEL.height + GAP)
    return `<g transform="translate(${x} ${y})">\n${drawPanel(panel, time)}\n</g>`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-1 -1 ${width + 2} ${height + 2}" width="${width}" height="${height}" role="img">`,
    '<title>The panels of ops/dashboard.json</title>',
    `<style>${STYLE}\n</style>`,
    ...drawn,
    '</svg>\n'
  ].join('\n')
}

interface Span {
  from: number
  to: number
}

function drawPanel({ title, unit, lines }: DrawnPanel, time: Span): string {
  const range = rangeOf(lines)
  const bottom = PLOT.top + PLOT.height
  // The busiest lines come first, since the legend has room for a few.
  const ranked = [...lines].sort((one, other) => greatest(other) - greatest(one)).slice(0, COLOURS.length)
  return [
    `<rect class="panel" width="${PANEL.width}" height="${PANEL.height}" rx="6"/>`,
    text(12, 20, title, 'class="title"'),
    `<path class="axis" d="M${PLOT.left} ${PLOT.top}V${bottom}H${PLOT.left + PLOT.width}" fill="none"/>`,
    text(PLOT.left - 6, PLOT.top + 8, withUnit(range.to, unit), 'text-anchor="end"'),
    text(PLOT.left - 6, bottom, withUnit(range.from, unit), 'text-anchor="end"'),
    ...ranked.map((line, index) => drawLine(line, time, range, COLOURS[index] ?? '')),
    ...ranked.map(({ name }, index) => drawName(name, index))
  ].join('\n')
}

function drawLine({ values }: Line, time: Span, range: Span, colour: string): string {
  const points = values
    .filter(([, value]) => Number.isFinite(Number(value)))
    .map(([at, value]) => {
      const x = PLOT.left + share(at, time) * PLOT.width
      const y = PLOT.top + (1 - share(Number(value), range)) * PLOT.height
      return `${x.toFixed(1)},${y.toFixed(1)}`
    })
  return `<polyline stroke="${colour}" points="${points.join(' ')}"/>`
}

function drawName(name: string, index: number): string {
  const x = 12 + Math.floor(index / LEGEND.rows) * LEGEND.columnWidth
  const y = LEGEND.top + (index % LEGEND.rows) * LEGEND.rowHeight
  const shown = name.length > LEGEND.maxLetters ? `${name.slice(0, LEGEND.maxLetters - 1)}…` : name
  return `<rect x="${x}" y="${y}" width="9" height="3" fill="${COLOURS[index]}"/>\n${text(x + 14, y + 5, shown)}`
}

/** From 0 to a little more than the greatest value, or from the least one where that is below 0. */
function rangeOf(lines: readonly Line[]): Span {
  const numbers = lines.flatMap(({ values }) => values.map(([, value]) => Number(value))).filter(Number.isFinite)
  const [least, most] = [Math.min(0, ...numbers), Math.max(0, ...numbers)]
  return { from: least, to: most === least ? least + 1 : most }
}

function greatest({ values }: Line): number {
  return Math.max(0, ...values.map(([, value]) => Math.abs(Number(value))).filter(Number.isFinite))
}

function share(value: number, { from, to }: Span): number {
  return (value - from) / (to - from)
}

const MIB = 1_048_576

/** Returns a number as an axis shows it. */
function withUnit(value: number, unit: string): string {
  if (unit === 'bytes') return `${Math.round(value / MIB)} MiB`
  if (unit === 's') return `${Math.round(value * 1_000)} ms`
  const shown = Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(2))
  return unit === 'reqps' || unit === 'cps' ? `${shown}/s` : unit === 'd' ? `${shown} d` : String(shown)
}

function text(x: number, y: number, content: string, attributes = ''): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  return `<text x="${x}" y="${y}" ${attributes}>${escaped}</text>`
}

if (process.argv[1] === import.meta.filename) {
  writeFileSync(PICTURE_FILE, drawDashboard(JSON.parse(readFileSync(PANELS_FILE, 'utf8'))))
}

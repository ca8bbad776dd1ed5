import { tidy } from './table.ts'

/** A horizontal bar with one part, or several end to end. */
export interface Bar {
  label: string
  parts: readonly number[]
  isOurs?: boolean
}

/** Bars on one scale. */
export interface Panel {
  title: string
  /** Names of the parts, when there are several. */
  legend?: readonly string[]
  bars: readonly Bar[]
  /** A longer bar is cut here; its value is still written in full. */
  cutAt?: number
}

const WIDTH = 860
const MARGIN = 16
const LABEL_WIDTH = 380
const VALUE_WIDTH = 70
const BAR_HEIGHT = 18
const ROW_HEIGHT = 26
const TITLE_HEIGHT = 44
const PANEL_GAP = 14

/** Colours follow the reader's preference for light or dark. */
const STYLE = `
  text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 14px }
  .ours { font-weight: 700 }
  .note { fill: #59636e; font-size: 12px }
  .part0 { fill: #8c959f }
  .part1 { fill: #c8ced5 }
  .ours.part0 { fill: #0969da }
  .ours.part1 { fill: #80b8f5 }
  .ground { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .note { fill: #9198a1 }
    .part0 { fill: #6e7681 }
    .part1 { fill: #474e57 }
    .ours.part0 { fill: #4493f8 }
    .ours.part1 { fill: #1f4f8f }
    .ground { fill: #0d1117 }
  }`

/**
 * Draws panels of bars as an SVG for light and dark.
 *
 * @param note one line at the foot that says where the figures were taken
 */
export function drawChart(title: string, panels: readonly Panel[], note: string): string {
  let y = MARGIN
  const drawn = panels.map(panel => {
    const top = y
    y += TITLE_HEIGHT + panel.bars.length * ROW_HEIGHT + PANEL_GAP
    return drawPanel(panel, top)
  })
  const height = y + 2 * MARGIN
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    `<title>${escapeXml(title)}</title>`,
    `<style>${STYLE}\n</style>`,
    `<rect class="ground" width="${WIDTH}" height="${height}" rx="8"/>`,
    ...drawn,
    text(MARGIN, height - MARGIN, note, 'note'),
    '</svg>\n'
  ].join('\n')
}

function drawPanel({ title, legend = [], bars, cutAt = Number.POSITIVE_INFINITY }: Panel, top: number): string {
  const longest = Math.min(cutAt, Math.max(...bars.map(({ parts }) => sum(parts))))
  const scale = (WIDTH - 2 * MARGIN - LABEL_WIDTH - VALUE_WIDTH) / longest
  const rows = bars.map(({ label, parts, isOurs = false }, row) => {
    const y = top + TITLE_HEIGHT + row * ROW_HEIGHT
    const ours = isOurs ? 'ours ' : ''
    const baseline = y + BAR_HEIGHT - 4
    let x = MARGIN + LABEL_WIDTH
    const rectangles = parts.map((part, index) => {
      const left = x
      x = Math.min(left + part * scale, MARGIN + LABEL_WIDTH + longest * scale)
      return rectangle(left, y, x - left, `${ours}part${index}`)
    })
    const value = `${sum(parts) > longest ? '→ ' : ''}${tidy(sum(parts))}`
    return [text(MARGIN, baseline, label, ours.trim()), ...rectangles, text(x + 6, baseline, value, ours.trim())].join(
      '\n'
    )
  })
  return [text(MARGIN, top + 18, title, 'title'), ...drawLegend(legend, top + 18), ...rows].join('\n')
}

function drawLegend(legend: readonly string[], baseline: number): string[] {
  return legend.flatMap((name, index) => {
    const x = MARGIN + LABEL_WIDTH + index * 110
    return [rectangle(x, baseline - 11, 12, `part${index}`, 12), text(x + 18, baseline, name, 'note')]
  })
}

function rectangle(x: number, y: number, width: number, className: string, height = BAR_HEIGHT): string {
  return `<rect class="${className}" x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${height}"/>`
}

function text(x: number, y: number, content: string, className: string): string {
  const attribute = className === '' ? '' : ` class="${className}"`
  return `<text${attribute} x="${x.toFixed(1)}" y="${y}">${escapeXml(content)}</text>`
}

function escapeXml(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

import { readFileSync } from 'node:fs'
import path from 'node:path'
import { ROOT } from '../fixtures/run/paths.ts'

const PAGE = path.join(ROOT, 'docs/resource-servers.md')

/** Texts of an example that the test replaces, each with what stands in for it. */
export type Replacements = Record<string, string>

/**
 * Returns an example of docs/resource-servers.md as it stands there, with other addresses.
 *
 * @param heading that the example stands below, in bold
 * @param replacements of texts that it must have
 * @throws Error when the page has no such example, or the example no such text
 */
export function exampleOf(heading: string, replacements: Replacements): string {
  const [, below] = readFileSync(PAGE, 'utf8').split(`**${heading}`)
  const [, example] = /```\w+\n([\s\S]*?)```/.exec(below ?? '') ?? []
  if (example === undefined) throw new Error(`${PAGE} has no example of ${heading}`)
  const missing = Object.keys(replacements).find(text => !example.includes(text))
  if (missing !== undefined) throw new Error(`the example of ${heading} has no ${missing}`)
  // In one pass: what stands in for a text may contain another one, such as the first digits of a port.
  const texts = Object.keys(replacements).map(text => text.replaceAll(/[.()$]/g, '\\$&'))
  return example.replaceAll(new RegExp(texts.join('|'), 'g'), text => replacements[text] ?? text)
}

/** Returns the titles of all examples of the page. */
export function titlesOfExamples(): string[] {
  const page = readFileSync(PAGE, 'utf8')
  return [...page.matchAll(/^\*\*(.+?)\.?\*\*/gm)].map(([, title = '']) => title)
}

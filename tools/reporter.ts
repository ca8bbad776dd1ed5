import { Transform, type TransformCallback } from 'node:stream'
import { type FinalResults, Parser, type Result } from 'tap-parser'

/** A quiet tap reporter: one line for each file, failures in full, and `N passed, N failed` at the end. */
export default class PlainReporter extends Transform {
  readonly #parser = new Parser()
  readonly #filesWithFailures = new Set<string>()
  #passed = 0
  #failed = 0
  #skipped = 0
  /** Levels below which a failure was reported, for the tests that are not over yet. */
  readonly #reported = new Set<number>()

  constructor() {
    super()
    this.#watch(this.#parser)
  }

  #watch(parser: Parser): void {
    parser.on('child', (child: Parser) => this.#watch(child))
    parser.on('assert', (result: Result) => this.#count(parser, result))
    if (parser.level === 1) parser.on('complete', (results: FinalResults) => this.#closeFile(parser, results))
  }

  #closeFile({ name }: Parser, { ok, count, time }: FinalResults): void {
    this.push(`${ok ? 'ok  ' : 'FAIL'} ${name} (${count} tests, ${Math.round(time ?? 0)} ms)\n`)
  }

  /** Level 0 is a file, level 1 a test in it, deeper levels its assertions. */
  #count(parser: Parser, result: Result): void {
    if (parser.level === 0) this.#countBrokenFile(result)
    if (parser.level === 1) this.#countTest(parser, result)
    if (parser.level > 0) this.#reportFailure(parser, result)
  }

  /** When a subtest failed, its parent is not reported as a second failure. */
  #reportFailure({ level }: Parser, { ok, skip, todo, diag, fullname }: Result): void {
    const isFailure = !(ok || skip || todo)
    const details = diag?.diff ?? diag?.stack ?? ''
    if (isFailure && (details !== '' || !this.#reported.has(level + 1))) {
      const { fileName, lineNumber } = diag?.at ?? {}
      const at = fileName === undefined ? '' : ` (${fileName}:${lineNumber})`
      this.push(`\nnot ok: ${fullname}${at}\n${details}\n`)
    }
    this.#reported.delete(level + 1)
    if (isFailure) this.#reported.add(level)
  }

  #countTest(parser: Parser, { ok, skip, todo }: Result): void {
    if (skip || todo) this.#skipped++
    else if (ok) this.#passed++
    else {
      this.#failed++
      this.#filesWithFailures.add(parser.name)
    }
  }

  /** A file that ends with an error outside its tests counts as one failure. */
  #countBrokenFile({ ok, name, diag }: Result): void {
    if (ok || this.#filesWithFailures.has(name)) return
    this.#failed++
    this.push(`FAIL ${name} (exit ${diag?.exitCode ?? diag?.signal})\n`)
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#parser.write(chunk)
    done()
  }

  override _flush(done: TransformCallback): void {
    this.#parser.end()
    const skipped = this.#skipped > 0 ? `, ${this.#skipped} skipped` : ''
    this.push(`\n${this.#passed} passed, ${this.#failed} failed${skipped}\n`)
    done()
  }
}

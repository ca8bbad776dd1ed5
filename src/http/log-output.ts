import { fstatSync, writeSync } from 'node:fs'

/** Lines are written in pieces, because a system call for each line would cost a token a twentieth of its time. */
const PIECE_BYTES = 4_096
/** No line waits longer than this for its piece to become full. */
const FLUSH_INTERVAL_MS = 100
/** Lines that wait for a slow reader. More are dropped. */
const MAX_WAITING_BYTES = 1_048_576
/** How long the exit of the process waits for a reader that is slow or has stopped. */
const EXIT_WAIT_MS = 500
const EXIT_POLL_MS = 10

const STDOUT = 1

const NOTHING = Buffer.alloc(0)

/**
 * Standard output for the log. It never blocks and never ends the process: when nobody reads, or the disk is full, lines
 * wait in memory up to a limit, and further lines are dropped and counted.
 *
 * A piece is at most PIPE_BUF of Linux, so a pipe takes it whole or not at all. Lines of several processes that share a
 * pipe do not mix, and no line is torn, unless it is longer than that.
 */
export class LogOutput {
  readonly #isStream = isStream()
  /** Complete lines that wait. */
  readonly #lines: string[] = []
  #waitingBytes = 0
  /** The piece that is being written, and how many lines it has. */
  #piece: { bytes: Buffer; lines: number } | undefined
  #dropped = 0

  constructor() {
    // The reader has gone. The callback of each write has the same error.
    if (this.#isStream) process.stdout.on('error', () => {})
    setInterval(() => this.#writeNext(1), FLUSH_INTERVAL_MS).unref()
    process.once('exit', () => this.#writeRest())
  }

  /** Lines that were dropped since the start. */
  get dropped(): number {
    return this.#dropped
  }

  write(line: string): void {
    if (this.#waitingBytes + line.length > MAX_WAITING_BYTES) {
      this.#dropped++
      return
    }
    this.#lines.push(line)
    this.#waitingBytes += line.length
    this.#writeNext(PIECE_BYTES)
  }

  /** Writes the next piece, when at least so many bytes wait and no piece is being written. */
  #writeNext(minBytes: number): void {
    if (this.#piece !== undefined || this.#waitingBytes < minBytes) return
    const piece = this.#takePiece()
    this.#piece = piece
    const onWritten = (error?: unknown): void => {
      this.#piece = undefined
      if (error) this.#dropped += piece.lines
      else this.#writeNext(PIECE_BYTES)
    }
    if (this.#isStream) {
      unblock()
      process.stdout.write(piece.bytes, onWritten)
    } else writeToFile(piece.bytes, onWritten)
  }

  #takePiece(): { bytes: Buffer; lines: number } {
    let text = ''
    let lines = 0
    for (const line of this.#lines) {
      if (lines > 0 && text.length + line.length > PIECE_BYTES) break
      text += line
      lines++
    }
    this.#lines.splice(0, lines)
    this.#waitingBytes -= text.length
    return { bytes: Buffer.from(text), lines }
  }

  /** At the exit of the process: writes what waits, unless that takes too long. */
  #writeRest(): void {
    // A stream that holds nothing has taken the piece, and only its callback has not run yet.
    const isPending = this.#isStream && process.stdout.writableLength > 0
    const pending = isPending ? (this.#piece?.bytes ?? NOTHING) : NOTHING
    let bytes = Buffer.concat([pending, Buffer.from(this.#lines.join(''))])
    const deadline = performance.now() + EXIT_WAIT_MS
    while (bytes.length > 0 && performance.now() < deadline) {
      try {
        if (this.#isStream) unblock()
        bytes = bytes.subarray(writeSync(STDOUT, bytes.subarray(0, PIECE_BYTES)))
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) return
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, EXIT_POLL_MS)
      }
    }
  }
}

/**
 * Makes writes to standard output return at once. A Node process that ends sets it back to blocking, and that holds for
 * all processes that share the pipe: the end of one worker would block the others.
 */
function unblock(): void {
  Reflect.get(process.stdout, '_handle')?.setBlocking(false)
}

/** Is standard output a pipe or a socket? Node writes to those without blocking. A write to a file does not block for long. */
function isStream(): boolean {
  const status = fstatSync(STDOUT)
  return status.isFIFO() || status.isSocket()
}

/** Writes all of it. A disk that becomes full takes only a part at first, and fails then. */
function writeToFile(bytes: Buffer, onWritten: (error?: unknown) => void): void {
  try {
    for (let rest = bytes; rest.length > 0; ) rest = rest.subarray(writeSync(STDOUT, rest))
  } catch (error) {
    onWritten(error)
    return
  }
  onWritten()
}

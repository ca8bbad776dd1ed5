import { createHash } from 'node:crypto'
import { freePort } from './service.ts'

/** The instant at which the commands of every page run, as the page shows it. */
const PAGE_TIME = Date.parse('2026-11-27T08:00:00Z')
/** Instants are shown to the hour, so that it does not matter how long a page takes. */
const ROUNDING_MS = 3_600_000
/** Times of tokens, in seconds, are shown to the quarter of an hour that a token lives. */
const TOKEN_ROUNDING_SECONDS = 900
/** Ports in the pages: of grantd, and of servers in examples/. */
const PORTS = ['3000', '4000', '4100']

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const ID_ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyz'
const HEX = '0123456789abcdef'

/** Values that are random: their pattern, and the n-th stand-in. The first that fits at a place is used. */
const RANDOM: readonly { pattern: string; standIn: (n: number) => string }[] = [
  { pattern: 'eyJ[\\w-]+(?:\\.[\\w-]*){2,4}', standIn: () => 'eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6Inp…' },
  { pattern: '\\bgrantd_[0-9A-Za-z]{49}\\b', standIn: n => `grantd_${drawn(BASE62, 49, n)}` },
  { pattern: '\\bgrantd_claim_[0-9A-Za-z]{49}\\b', standIn: n => `grantd_claim_${drawn(BASE62, 49, n)}` },
  { pattern: '\\bwhsec_[0-9A-Za-z+/]{43}=', standIn: n => `whsec_${drawn(BASE62, 43, n)}=` },
  {
    pattern: '\\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\\b',
    standIn: n => drawn(HEX, 32, n).replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, '$1-$2-4$3-a$4-$5')
  },
  { pattern: '\\b[0-9a-f]{64}\\b', standIn: n => drawn(HEX, 64, n) },
  { pattern: '(?<![\\w-])[\\w-]{43}(?![\\w-])', standIn: n => drawn(BASE62, 43, n) },
  { pattern: '\\b[0-9a-z]{20}\\b', standIn: n => drawn(ID_ALPHABET, 20, n) }
]
const ANY_RANDOM = new RegExp(RANDOM.map(({ pattern }) => `(${pattern})`).join('|'), 'g')

/** Translates between a page, which is the same after each run, and a real service. */
export class StandIns {
  readonly #shiftMs = Date.now() - PAGE_TIME
  readonly #realPorts: ReadonlyMap<string, string>
  /** For each kind of RANDOM, the stand-ins of the values that came so far. */
  readonly #known = RANDOM.map(() => new Map<string, string>())

  private constructor(realPorts: ReadonlyMap<string, string>) {
    this.#realPorts = realPorts
  }

  /** @param baseUrl of the service */
  static async create(baseUrl: string): Promise<StandIns> {
    const ports = await Promise.all(PORTS.slice(1).map(async () => String(await freePort())))
    const real = [new URL(baseUrl).port, ...ports]
    return new StandIns(new Map(PORTS.map((port, index) => [port, real[index] ?? port])))
  }

  /** Returns a command of the page with real ports, and with instants as far from now as they are from PAGE_TIME. */
  toReal(command: string): string {
    const ports = new RegExp(`(?<=127\\.0\\.0\\.1:|PORT=)(${PORTS.join('|')})\\b`, 'g')
    const ported = command.replaceAll(ports, port => this.#realPorts.get(port) ?? port)
    return moveInstants(ported, instant => instant + this.#shiftMs)
  }

  /** Returns what a command printed, as the page shows it. */
  toPage(output: string): string {
    let text = output
    for (const [port, real] of this.#realPorts) text = text.replaceAll(`127.0.0.1:${real}`, `127.0.0.1:${port}`)
    text = moveInstants(text, instant => Math.round((instant - this.#shiftMs) / ROUNDING_MS) * ROUNDING_MS)
    text = text.replaceAll(/(?<="(?:exp|iat)":)\d{10}\b/g, time => this.#roundTokenTime(Number(time)))
    return text.replaceAll(ANY_RANDOM, (value, ...groups) => {
      return this.#standInFor(
        value,
        groups.findIndex(group => group !== undefined)
      )
    })
  }

  /** @param time seconds since 1970 */
  #roundTokenTime(time: number): string {
    const shifted = time - this.#shiftMs / 1_000
    return String(Math.round(shifted / TOKEN_ROUNDING_SECONDS) * TOKEN_ROUNDING_SECONDS)
  }

  /** Returns the same stand-in for the same value. @param kind index of RANDOM */
  #standInFor(value: string, kind: number): string {
    const known = this.#known[kind]
    const standIn = known?.get(value) ?? RANDOM[kind]?.standIn(known?.size ?? 0) ?? value
    known?.set(value, standIn)
    return standIn
  }
}

/** Moves every instant in a text: `2026-11-27T08:00:00.000Z`, and `20261127T080000Z` of calendars. */
function moveInstants(text: string, move: (instant: number) => number): string {
  return text
    .replaceAll(/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z/g, instant =>
      new Date(move(Date.parse(instant))).toISOString()
    )
    .replaceAll(/\b(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z/g, (_, ...parts) => {
      const [year, month, day, hour, minute, second] = parts
      const moved = new Date(move(Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)))
      return `${moved.toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z`
    })
}

/** Draws characters that look random, and are the same in each run. */
function drawn(alphabet: string, length: number, n: number): string {
  const bytes = createHash('sha512').update(`${alphabet.length} ${n}`).digest()
  return Array.from({ length }, (_, index) => alphabet[(bytes[index] ?? 0) % alphabet.length]).join('')
}

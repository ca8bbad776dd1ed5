import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { ROOT } from './fixtures/run/paths.ts'

const SRC = path.join(ROOT, 'src')

/** From the ground up. An import leads to a lower floor, or stays in its room. */
const FLOORS: readonly (readonly string[])[] = [
  ['concurrency', 'crypto'],
  ['database'],
  ['http'],
  ['config', 'admin-api'],
  ['audit', 'credentials', 'signing-keys'],
  ['registrations'],
  ['notifications', 'oauth'],
  ['last-used', 'discovery', 'api-reference'],
  ['metrics'],
  ['app.ts'],
  ['development'],
  ['runtime'],
  ['commands']
]
/** Imports that still run up. The list only gets shorter. */
const STILL_UP = ['concurrency > database', 'database > development']

interface SourceFile {
  name: string
  room: string
  text: string
  /** Names of the files of ours that it imports. */
  imports: string[]
}

const files: SourceFile[] = globSync('**/*.ts', { cwd: SRC })
  .sort()
  .map(name => {
    const text = readFileSync(path.join(SRC, name), 'utf8')
    const imports = [...text.matchAll(/(?:from|import) '(\.[^']+)'|import\('(\.[^']+)'\)/g)]
    return {
      name,
      room: roomOf(name),
      text,
      imports: imports.map(([, from, dynamic]) => path.join(path.dirname(name), from ?? dynamic ?? ''))
    }
  })

function roomOf(name: string): string {
  return name.split(path.sep)[0] ?? ''
}

const floorOf = (room: string): number => FLOORS.findIndex(rooms => rooms.includes(room))

/** Those among the files in which this is found, but may not be. */
function intruders(pattern: RegExp, mayHave: (file: SourceFile) => boolean): string[] {
  return files.filter(file => pattern.test(file.text) && !mayHave(file)).map(({ name }) => name)
}

t.test('every room and file has its floor', async t => {
  t.ok(files.length > 40)
  for (const { name, room } of files) t.ok(floorOf(room) >= 0, name)
})

t.test('no import runs up, and rooms of one floor do not know each other', async t => {
  const wrong = files.flatMap(({ name, room, imports }) =>
    imports
      .map(target => ({ target, room: roomOf(target) }))
      .filter(({ room: there }) => there !== room && floorOf(there) >= floorOf(room))
      .filter(({ room: there }) => !STILL_UP.includes(`${room} > ${there}`))
      .map(({ target }) => `${name} > ${target}`)
  )
  t.same(wrong, [])
})

t.test('events are written, not read or verified, by who is above the audit', async t => {
  const callers = files.filter(({ room }) => room !== 'audit' && floorOf(room) < floorOf('app.ts'))
  const imported = callers.flatMap(({ imports }) => imports.filter(target => roomOf(target) === 'audit'))
  t.same([...new Set(imported)], ['audit/record.ts'])
})

t.test('no circle of imports', async t => {
  const importsOf = new Map(files.map(({ name, imports }) => [name, imports]))
  const reaches = (from: string, target: string, seen: Set<string>): boolean =>
    (importsOf.get(from) ?? []).some(next => {
      if (next === target) return true
      if (seen.has(next)) return false
      seen.add(next)
      return reaches(next, target, seen)
    })
  t.same(
    files.filter(({ name }) => reaches(name, name, new Set())).map(({ name }) => name),
    []
  )
})

t.test('every import of ours leads to a file', async t => {
  const names = new Set(files.map(({ name }) => name))
  t.same(
    files.flatMap(({ imports }) => imports.filter(target => !names.has(target))),
    []
  )
})

t.test('each thing is in its place', async t => {
  const isRepository = ({ name, room }: SourceFile) => name.endsWith('/repository.ts') || room === 'database'
  const speaksHttp = ({ name, room }: SourceFile) =>
    /\/(routes|plugin)\.ts$/.test(name) || room === 'http' || room === 'admin-api' || floorOf(room) >= floorOf('app.ts')
  const queries = /\bsql(<[^`]*>)?`|\.(selectFrom|insertInto|updateTable|deleteFrom)\(/
  t.same(intruders(queries, isRepository), [], 'query building')
  t.same(
    intruders(/process\.env/, ({ name }) => name === 'config/config.ts'),
    [],
    'process.env'
  )
  t.same(intruders(/from 'fastify'/, speaksHttp), [], 'fastify')
  t.same(
    intruders(/argon2'/, ({ name }) => name === 'credentials/secret.ts'),
    [],
    'argon2'
  )
  t.same(
    intruders(/Date\.now\b(?!\(\))/, ({ room }) => floorOf(room) >= floorOf('app.ts')),
    [],
    'the clock'
  )
  t.same(
    intruders(/\bany\b(?=[\s,;)\]>])(?<=: any|<any|as any)/, () => false),
    [],
    'any'
  )
})

t.test('a table is written by one room', async t => {
  const writers = new Map<string, Set<string>>()
  for (const { room, text } of files) {
    for (const [, table = ''] of text.matchAll(/\.(?:insertInto|updateTable|deleteFrom)\('(\w+)'\)/g)) {
      writers.set(table, (writers.get(table) ?? new Set()).add(room))
    }
  }
  t.ok(writers.size >= 3)
  for (const [table, rooms] of writers) t.equal(rooms.size, 1, `${table}: ${[...rooms].join(', ')}`)
})

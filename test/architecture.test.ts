import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { ROOT } from './fixtures/paths.ts'

const SRC = path.join(ROOT, 'src')

/** From the ground up: an arrow runs down, or stays in its room. */
const FLOORS: readonly (readonly string[])[] = [
  ['database', 'http', 'sealing.ts', 'config.ts', 'config-kinds.ts', 'site-id.ts'],
  ['audit', 'registrations', 'signing-keys', 'admin'],
  ['tokens', 'receivers', 'alerts'],
  ['last-used', 'notices', 'discovery', 'api-reference'],
  ['metrics'],
  ['app.ts'],
  [
    ...['server.ts', 'serve.ts', 'foundation.ts', 'workers.ts', 'greeting.ts', 'migrate.ts', 'openapi.ts'],
    ...['admin-token.ts', 'audit-verify.ts', 'audit-prune.ts', 'rotate-keys.ts', 'key-store.ts']
  ]
]
/** Ground that stands on ground. */
const ON_THE_GROUND = [
  ...['http > database', 'config.ts > http', 'config.ts > config-kinds.ts'],
  'config-kinds.ts > database'
]
/** The one write of a room that another may call. */
const BETWEEN_ROOMS = ['registrations > audit/record.ts']
/** What a door may keep beside itself. */
const AT_THE_DOOR = [
  ...['foundation.ts', 'serve.ts', 'workers.ts', 'greeting.ts'].map(name => `server.ts > ${name}`),
  ...['serve.ts > foundation.ts', 'workers.ts > foundation.ts'],
  ...['foundation.ts > key-store.ts', 'rotate-keys.ts > key-store.ts']
]

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

t.test('no arrow runs up, and rooms of a floor do not know each other', async t => {
  const wrong = files.flatMap(({ name, room, imports }) =>
    imports
      .filter(target => !BETWEEN_ROOMS.includes(`${room} > ${target}`))
      .map(target => ({ arrow: `${room} > ${roomOf(target)}`, from: floorOf(room), to: floorOf(roomOf(target)) }))
      .filter(({ arrow, from, to }) => {
        const [here, there] = arrow.split(' > ')
        return here !== there && to >= from && ![...ON_THE_GROUND, ...AT_THE_DOOR].includes(arrow)
      })
      .map(({ arrow }) => `${name}: ${arrow}`)
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
    /\/(routes|plugin)\.ts$/.test(name) || room === 'http' || floorOf(room) >= floorOf('app.ts')
  const queries = /\bsql(<[^`]*>)?`|\.(selectFrom|insertInto|updateTable|deleteFrom)\(/
  t.same(intruders(queries, isRepository), [], 'query building')
  t.same(
    intruders(/process\.env/, ({ name }) => name === 'config.ts'),
    [],
    'process.env'
  )
  t.same(intruders(/from 'fastify'/, speaksHttp), [], 'fastify')
  t.same(
    intruders(/argon2'/, ({ name }) => name === 'registrations/client-secret.ts'),
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

import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { ROOT } from './fixtures/run/paths.ts'

/** The rooms of `src`, from the ground up. An import leads to a lower floor or stays in its room. */
const FLOORS: readonly (readonly string[])[] = [
  ['time.ts'],
  ['concurrency', 'crypto'],
  ['metrics'],
  ['database'],
  ['http'],
  ['issuer-keys'],
  ['config', 'admin-api'],
  ['audit', 'credentials', 'signing-keys'],
  ['registrations'],
  ['notifications', 'oauth'],
  ['last-used', 'discovery', 'api-reference'],
  ['app.ts'],
  ['development'],
  ['runtime'],
  ['commands']
]

interface SourceFile {
  name: string
  /** First folder of the path, or the file itself when it is in no folder. */
  room: string
  /** Without comments. */
  code: string
  /** Paths of the files of `src` that it imports. */
  imports: string[]
}

interface Rule {
  name: string
  /** @returns one line for each violation */
  violations: (files: readonly SourceFile[]) => string[]
  /** Made-up files that break the rule. Each one must be caught. */
  controls: readonly (readonly SourceFile[])[]
}

function sourceFile(name: string, text: string): SourceFile {
  const code = text.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
  const targets = [...code.matchAll(/(?:from|import) '(\.[^']+)'|import\('(\.[^']+)'\)/g)]
  return {
    name,
    room: roomOf(name),
    code,
    imports: targets.map(([, target, dynamic]) => path.join(path.dirname(name), target ?? dynamic ?? ''))
  }
}

function roomOf(name: string): string {
  return name.split('/')[0] ?? ''
}

function floorOf(room: string): number {
  return FLOORS.findIndex(rooms => rooms.includes(room))
}

const isWiring = ({ room }: SourceFile) => floorOf(room) >= floorOf('app.ts')
const isRepository = ({ name, room }: SourceFile) => name.endsWith('/repository.ts') || room === 'database'
/** The parts of a room that Fastify calls, and those of the admin API that read a request. */
const isCalledByFastify = ({ name, room }: SourceFile) =>
  /\/(routes|plugin|endpoint-scope|validation|json-body|query|schema-faults|site|audit-context)\.ts$/.test(name) ||
  room === 'http'

/** A rule that only some files may contain this code. */
function onlyIn(
  name: string,
  pattern: RegExp,
  mayContain: (file: SourceFile) => boolean,
  controls: readonly [fileName: string, text: string][]
): Rule {
  return {
    name,
    violations: files => files.filter(file => pattern.test(file.code) && !mayContain(file)).map(({ name }) => name),
    controls: controls.map(([fileName, text]) => [sourceFile(fileName, text)])
  }
}

const RULES: readonly Rule[] = [
  {
    name: 'src contains app.ts, time.ts and known rooms only',
    violations: files =>
      files
        .filter(({ room }) => floorOf(room) < 0 || (room.endsWith('.ts') && !['app.ts', 'time.ts'].includes(room)))
        .map(({ name }) => name),
    controls: [[sourceFile('server.ts', '')], [sourceFile('helpers/strings.ts', '')]]
  },
  {
    name: 'no import runs up, and rooms of one floor do not import each other',
    violations: files =>
      files.flatMap(({ name, room, imports }) =>
        imports
          .filter(target => roomOf(target) !== room && floorOf(roomOf(target)) >= floorOf(room))
          .map(target => `${name} > ${target}`)
      ),
    controls: [
      [sourceFile('http/health.ts', "import { Exchange } from '../oauth/token/exchange.ts'")],
      [sourceFile('oauth/token/exchange.ts', "import { sweep } from '../../notifications/sweep.ts'")],
      [sourceFile('config/config.ts', "const { buildApp } = await import('../app.ts')")]
    ]
  },
  {
    name: 'only commands and the runtime import development',
    violations: files =>
      files.flatMap(({ name, room, imports }) =>
        ['commands', 'runtime', 'development'].includes(room)
          ? []
          : imports.filter(target => roomOf(target) === 'development').map(target => `${name} > ${target}`)
      ),
    controls: [[sourceFile('app.ts', "import { banner } from './development/banner.ts'")]]
  },
  {
    name: 'imports form no cycle',
    violations: files => {
      const importsOf = new Map(files.map(({ name, imports }) => [name, imports]))
      const reaches = (from: string, target: string, seen: Set<string>): boolean =>
        (importsOf.get(from) ?? []).some(next => {
          if (next === target) return true
          if (seen.has(next)) return false
          seen.add(next)
          return reaches(next, target, seen)
        })
      return files.filter(({ name }) => reaches(name, name, new Set())).map(({ name }) => name)
    },
    controls: [
      [sourceFile('audit/chain.ts', "import './record.ts'"), sourceFile('audit/record.ts', "import './chain.ts'")]
    ]
  },
  {
    name: 'rooms that change what is audited import audit/record.ts and nothing else of the audit',
    violations: files =>
      files
        .filter(file => file.room !== 'audit' && !isWiring(file))
        .flatMap(({ name, imports }) =>
          imports
            .filter(target => roomOf(target) === 'audit' && target !== 'audit/record.ts')
            .map(target => `${name} > ${target}`)
        ),
    controls: [[sourceFile('registrations/service.ts', "import { verify } from '../audit/verify.ts'")]]
  },
  onlyIn(
    'queries are written in a repository.ts or in database/',
    /\bsql(<[^`]*>)?`|\.(selectFrom|insertInto|updateTable|deleteFrom|mergeInto)\(|import \{[^}]*\bsql\b[^}]*\} from 'kysely'|from 'pg'/,
    file => isRepository(file) || file.name === 'development/embedded-postgres.ts',
    [
      ['registrations/service.ts', "db.selectFrom('registrations')"],
      ['oauth/token/exchange.ts', 'sql<{ id: string }>`select 1`'],
      ['signing-keys/rotation.ts', "import { type Kysely, sql } from 'kysely'"],
      ['http/health.ts', "import pg from 'pg'"]
    ]
  ),
  onlyIn(
    'config/ is the only reader of the environment',
    /process\.env\b|\benv\b[^\n]*from 'node:process'|\{[^}\n]*\benv\b[^}\n]*\} = process\b/,
    ({ room }) => room === 'config',
    [
      ['http/log.ts', "if (process.env['DEBUG']) log()"],
      ['runtime/instance.ts', "import { env } from 'node:process'"],
      ['commands/start.ts', 'const { env } = process']
    ]
  ),
  onlyIn(
    'Fastify is known to routes, plugins, hooks of the admin API, http/ and wiring only',
    /(from|module) 'fastify'/,
    // The worker runs the library's plugin in a Fastify of its own.
    file => isCalledByFastify(file) || isWiring(file) || file.name === 'api-reference/scalar-worker.ts',
    [
      ['registrations/service.ts', "import type { FastifyRequest } from 'fastify'"],
      ['oauth/token/exchange.ts', "declare module 'fastify' {}"]
    ]
  ),
  onlyIn('Argon2 is used in credentials/secret.ts only', /argon2'/, ({ name }) => name === 'credentials/secret.ts', [
    ['oauth/client-authentication/basic.ts', "import { verify } from '@node-rs/argon2'"]
  ]),
  onlyIn(
    'the wall clock is read where the parts are wired together; everything below takes `now`',
    /\bDate\.now\b|\bnew Date\(\)|\bDate\(\)/,
    file => isWiring(file) || file.name === 'http/log.ts',
    [
      ['registrations/lifecycle.ts', 'const at = Date.now()'],
      ['registrations/service.ts', 'const registeredAt = new Date()'],
      ['oauth/token/exchange.ts', 'constructor (now = Date.now) {}']
    ]
  ),
  onlyIn(
    'node:http is imported for its types only, because an import takes 30 ms of every start',
    /(?<!import type [^;\n]*)from 'node:http'/,
    () => false,
    [['oauth/authorization/routes.ts', "import { METHODS } from 'node:http'"]]
  ),
  onlyIn('no type is `any`', /\bany\b(?=[\s,;)\]>])(?<=: any|<any|as any)/, () => false, [
    ['http/problem.ts', 'function describe (error: any) {}']
  ]),
  {
    name: 'a table is written by one room',
    violations: files => {
      const writers = new Map<string, Set<string>>()
      for (const { room, code } of files) {
        const built = code.matchAll(/\.(?:insertInto|updateTable|deleteFrom|mergeInto)\('(\w+)/g)
        const plain = code.matchAll(
          /\b(?:insert into|update(?! of\b)|delete from) (\w+)(?= ?\(|\s+(?:as|set|where|using|returning)\b)/g
        )
        for (const [, table = ''] of [...built, ...plain]) {
          writers.set(table, (writers.get(table) ?? new Set()).add(room))
        }
      }
      return [...writers]
        .filter(([, rooms]) => rooms.size > 1)
        .map(([table, rooms]) => `${table}: ${[...rooms].join(', ')}`)
    },
    controls: [
      [
        sourceFile('registrations/repository.ts', "db.updateTable('registrations')"),
        sourceFile('oauth/repository.ts', 'sql`update registrations set name = name`')
      ]
    ]
  }
]

const files = globSync('**/*.ts', { cwd: path.join(ROOT, 'src') })
  .sort()
  .map(name => sourceFile(name, readFileSync(path.join(ROOT, 'src', name), 'utf8')))

t.test('every import of src leads to a file of src', async t => {
  const names = new Set(files.map(({ name }) => name))
  t.ok(names.has('app.ts') && names.size > 40)
  t.same(
    files.flatMap(({ imports }) => imports.filter(target => !names.has(target))),
    []
  )
})

for (const { name, violations, controls } of RULES) {
  // [BUILD-4]
  t.test(name, async t => {
    t.same(violations(files), [])
    for (const control of controls) t.not(violations(control).length, 0, `control: ${control.at(-1)?.name}`)
  })
}

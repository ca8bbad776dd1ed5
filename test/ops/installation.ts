import { execFile } from 'node:child_process'
import { readFileSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { withClient } from '../fixtures/app/database.ts'
import { makeCluster, type PostgresCluster } from '../fixtures/faults/cluster.ts'
import { DEBIAN_POSTGRES, FOLDER } from '../fixtures/faults/debian-postgres.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'

/** A Postgres with a database and two logins, as docs/deploy.md has an administrator make them. */
export interface Installation {
  /** Connection strings. The cluster trusts everybody on loopback. */
  superuserUrl: string
  ownerUrl: string
  servingUrl: string
}

/** Starts an empty cluster of Debian's Postgres. */
export async function startDebianCluster(t: Test): Promise<PostgresCluster> {
  const cluster = await makeCluster(t, path.join(temporaryFolder(t), 'cluster'), [], [], DEBIAN_POSTGRES)
  await cluster.start()
  return cluster
}

/** Runs the statements of docs/deploy.md. @param name of the database, and the start of the names of its roles */
export async function createInstallation(cluster: PostgresCluster, name = 'grantd'): Promise<Installation> {
  const [statements = ''] = blocksOf('docs/deploy.md', 'sql')
  await withClient(cluster.urlOf('postgres'), async client => {
    for (const statement of statements.replaceAll('grantd', name).split('\n')) await client.query(statement)
  })
  const urlOf = (login: string) => cluster.urlOf(name).replace('postgres@', `${login}@`)
  return { superuserUrl: cluster.urlOf(name), ownerUrl: urlOf(`${name}_owner`), servingUrl: urlOf(`${name}_web`) }
}

/** Returns the command block of docs/backup.md that has this word. */
export function commandsOf(word: string): string {
  const found = blocksOf('docs/backup.md', 'sh').filter(block => block.includes(word))
  if (found.length !== 1) throw new Error(`docs/backup.md has ${found.length} blocks with ${word}`)
  return found.join()
}

/** Returns the contents of the blocks of a language, also of those within lists. */
function blocksOf(page: string, language: string): string[] {
  const text = readFileSync(path.join(ROOT, page), 'utf8')
  const blocks = text.matchAll(new RegExp(`^( *)\`\`\`${language}\n([\\s\\S]*?)^ *\`\`\`$`, 'gm'))
  return [...blocks].map(([, indent = '', block = '']) => block.replaceAll(new RegExp(`^${indent}`, 'gm'), '').trim())
}

/** A folder in which commands of pages run: the package of grantd with nothing that a command may write to. */
export function commandFolder(t: Test): string {
  const folder = temporaryFolder(t)
  for (const name of ['package.json', 'node_modules', 'src', 'migrations']) {
    symlinkSync(path.join(ROOT, name), path.join(folder, name))
  }
  return folder
}

/**
 * Runs commands of a page in a shell that stops at the first one that fails.
 *
 * @returns what they printed
 * @throws Error with what was printed, when one fails
 */
export async function runCommands(commands: string, cwd: string, variables: Record<string, string>): Promise<string> {
  const { HOME = '', PATH = '' } = process.env
  const env = { HOME, PATH: `${path.dirname(process.execPath)}:${FOLDER}:${PATH}`, ...variables }
  const { stdout } = await promisify(execFile)('sh', ['-euc', commands], { cwd, env })
  return stdout
}

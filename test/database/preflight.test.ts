import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { type Connection, connect } from '../../src/database/connect.ts'
import { UnsuitableDatabase } from '../../src/database/errors.ts'
import { startApp } from '../fixtures/app/app.ts'
import { asServingRole, createEmptyDatabase, migrateDatabase, query, serverUrl } from '../fixtures/app/database.ts'

interface Roles {
  /** Connection strings of a superuser, of the owner of grantd's tables, and of the role that serves. */
  superuser: string
  owner: string
  serving: string
  ownerRole: string
  servingLogin: string
  database: string
}

/** An empty database with two ordinary roles. */
async function withRoles(t: Test): Promise<Roles> {
  const superuser = await createEmptyDatabase(t)
  const database = new URL(superuser).pathname.slice(1)
  const [ownerRole, servingLogin] = [`owner_${randomBytes(6).toString('hex')}`, `web_${randomBytes(6).toString('hex')}`]
  for (const role of [ownerRole, servingLogin]) await query(serverUrl().href, `create role ${role} login`)
  t.teardown(async () => {
    for (const role of [ownerRole, servingLogin]) {
      await query(superuser, `drop owned by ${role} cascade`)
      await query(serverUrl().href, `drop role ${role}`)
    }
  })
  const asRole = (role: string) => {
    const url = new URL(superuser)
    url.username = role
    return url.href
  }
  return { superuser, owner: asRole(ownerRole), serving: asRole(servingLogin), ownerRole, servingLogin, database }
}

async function open(t: Test, url: string, migrationUrl: string): Promise<Connection> {
  const connection = await connect({
    ...{ url, migrationUrl, poolSize: 4 },
    onIdleError: () => {},
    onConnectionChange: () => {}
  })
  t.teardown(() => connection.close())
  return connection
}

t.test('the owner of a schema that is not public migrates into it, and the role that serves finds it', async t => {
  const { superuser, owner, serving, ownerRole, servingLogin, database } = await withRoles(t)
  await query(superuser, `create schema ${ownerRole} authorization ${ownerRole}`)
  await query(superuser, 'revoke all on schema public from public')
  await migrateDatabase(owner)
  t.same(await query(superuser, `select schemaname from pg_tables where tablename = 'registrations'`), [
    { schemaname: ownerRole }
  ])
  await query(superuser, `grant ${database}_serving to ${servingLogin}`)
  await query(superuser, `alter database ${database} set search_path = elsewhere`)
  const connection = await open(t, serving, owner)
  await connection.assertSuitable()
  t.equal(await connection.needsMigration(), false)
  await connection.assertGranted()
  const grantd = await startApp(t, { databaseUrl: serving, connection })
  const registered = await grantd.register()
  t.equal((await grantd.exchange(registered)).status, 200)
  t.equal((await grantd.asAdmin('DELETE', registered.path)).status, 204)
})

t.test('a role that may not use or create what it needs is refused with one sentence that grants it', async t => {
  const { superuser, owner, serving, ownerRole, servingLogin, database } = await withRoles(t)
  const connection = await open(t, serving, owner)
  await query(superuser, 'revoke all on schema public from public')
  await t.rejects(connection.migrate(), {
    name: 'UnsuitableDatabase',
    message: `create schema "${ownerRole}" authorization "${ownerRole}"`
  })
  await query(superuser, 'grant usage on schema public to public')
  await t.rejects(connection.migrate(), { message: `grant create on schema "public" to "${ownerRole}"` })
  await query(superuser, `grant create on schema public to ${ownerRole}`)
  await connection.migrate()
  await t.rejects(connection.assertGranted(), { message: `grant "${database}_serving" to "${servingLogin}"` })
  await query(superuser, 'revoke all on schema public from public')
  await t.rejects(connection.assertSuitable(), UnsuitableDatabase)
  await t.rejects(connection.assertSuitable(), { message: `grant "${database}_serving" to "${servingLogin}"` })
  await query(superuser, `grant ${database}_serving to ${servingLogin}`)
  await t.rejects(connection.assertSuitable(), { message: `grant usage on schema "public" to "${database}_serving"` })
  await query(superuser, `grant usage on schema public to ${database}_serving`)
  await connection.assertSuitable()
  await connection.assertGranted()
})

t.test('an owner that may not create roles is told once what an administrator must run', async t => {
  const { superuser, owner, ownerRole, database } = await withRoles(t)
  await query(superuser, `create schema ${ownerRole} authorization ${ownerRole}`)
  await query(superuser, `drop owned by ${database}_serving`)
  await query(superuser, `drop role ${database}_serving`)
  const { warnings } = await migrateDatabase(owner)
  t.match(warnings, [`create role "${database}_serving" nologin`])
  t.equal(warnings.length, 1)
  await query(superuser, `create role ${database}_serving nologin`)
  t.same(await migrateDatabase(owner), { applied: [], warnings: [] })
  t.same(
    await query(
      superuser,
      `select from information_schema.role_table_grants where grantee = '${database}_serving' limit 1`
    ),
    [{}]
  )
})

// [SITE-16]
t.test('two installations on one cluster do not share rights (M8)', async t => {
  const [staging, production] = [await withRoles(t), await withRoles(t)]
  for (const { superuser, database, servingLogin } of [staging, production]) {
    await migrateDatabase(superuser)
    await query(superuser, `grant ${database}_serving to ${servingLogin}`)
  }
  const intruding = new URL(production.serving)
  intruding.username = staging.servingLogin
  for (const statement of [
    'select secret_hash from registrations',
    'delete from registrations',
    'select private_jwe from signing_keys',
    'select * from grantd_migrations'
  ]) {
    await query(production.serving, statement)
    await t.rejects(query(intruding.href, statement), { code: '42501' }, statement)
  }
})

t.test('the rights of the role of another database are taken back in a copy of it', async t => {
  const { superuser, servingLogin } = await withRoles(t)
  await migrateDatabase(superuser)
  await query(superuser, `create role other_${servingLogin}_serving`)
  t.teardown(() => query(serverUrl().href, `drop role other_${servingLogin}_serving`))
  await query(superuser, `grant select on registrations to other_${servingLogin}_serving`)
  await migrateDatabase(superuser)
  t.same(
    await query(superuser, `select has_table_privilege('other_${servingLogin}_serving', 'registrations', 'select')`),
    [{ has_table_privilege: false }]
  )
})

t.test('the table of another program that migrates with kysely changes nothing', async t => {
  const { superuser } = await withRoles(t)
  await query(
    superuser,
    'create schema other; create table other.kysely_migration (name varchar(255) primary key, timestamp varchar(255))'
  )
  await query(
    superuser,
    `create table kysely_migration (name varchar(255)); insert into kysely_migration values ('0001_init')`
  )
  t.equal((await migrateDatabase(superuser)).applied.length > 0, true)
  const connection = await open(t, asServingRole(superuser), superuser)
  await connection.assertSuitable()
  t.equal(await connection.needsMigration(), false)
})

for (const encoding of ['LATIN1', 'SQL_ASCII']) {
  t.test(`a database with the encoding ${encoding} is refused at start, by name`, async t => {
    const name = `t_${randomBytes(6).toString('hex')}`
    await query(
      serverUrl().href,
      `create database ${name} encoding '${encoding}' template template0 lc_collate 'C' lc_ctype 'C'`
    )
    t.teardown(() => query(serverUrl().href, `drop database ${name} with (force)`))
    const url = serverUrl()
    url.pathname = `/${name}`
    const connection = await open(t, url.href, url.href)
    for (const work of [() => connection.assertSuitable(), async () => void (await connection.migrate())]) {
      await t.rejects(work(), {
        name: 'UnsuitableDatabase',
        message: `the encoding ${encoding}, and grantd needs UTF8`
      })
    }
    t.same(await query(url.href, `select from pg_tables where schemaname = 'public'`), [])
  })
}

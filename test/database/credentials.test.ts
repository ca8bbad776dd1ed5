import t from 'tap'
import { createDatabase, query } from '../fixtures/app/database.ts'
import { insertRegistrationRow } from '../fixtures/app/registration-row.ts'

const KEY = `'{"kind":"key","keyId":"k"}'`
const SUBJECT = `'{"kind":"federated","issuer":"i","subject":"s"}'`
const NO_SECRET = 'secret_hash = null, secret_mac = null, secret_mac_key_id = null'
const NO_PREVIOUS = 'previous_secret_hash = null, previous_secret_mac = null, previous_secret_mac_key_id = null'
const A_SECRET = `secret_hash = '$argon2id$', secret_mac = decode(repeat('01', 32), 'hex'), secret_mac_key_id = 'none'`
const TIMES = 'previous_secret_created_at = now(), previous_secret_expires_at = now()'

/** Returns how a registration with a secret is updated, and its credentials are read. */
async function registrationRow(t: Parameters<typeof createDatabase>[0]) {
  const url = await createDatabase(t)
  await insertRegistrationRow(url, { expiresAt: 1, armedAt: 0 })
  const update = (set: string) => query(url, `update registrations set ${set}`)
  const credentials = async () => {
    const [row] = await query(
      url,
      `select credential ->> 'kind' as kind, secret_hash as hash, previous_credential ->> 'kind' as previous,
         previous_secret_hash as previous_hash from registrations`
    )
    return row
  }
  return { update, credentials }
}

t.test('the schema refuses a registration whose current or previous credential is none or two', async t => {
  const { update } = await registrationRow(t)
  const refused = (name: string) => ({ message: new RegExp(`registrations_${name}`) })
  await t.rejects(update(NO_SECRET), refused('credential_complete'))
  await t.rejects(update(`credential = ${KEY}`), refused('credential_complete'))
  await t.rejects(update(`credential = ${KEY}, secret_hash = null, secret_mac = null`), refused('credential_complete'))
  await t.rejects(update(`credential = '{"kind":"secret"}', ${NO_SECRET}`), refused('credential_kind'))
  await t.rejects(update(`credential = 'null', ${NO_SECRET}`), refused('credential_kind'))
  await t.rejects(update(`previous_credential = ${KEY}`), refused('previous_credential_complete'))
  await t.rejects(update(TIMES), refused('previous_credential_complete'))
  await t.rejects(update(`previous_credential = '[]', ${TIMES}`), refused('previous_credential_kind'))
  await t.rejects(
    update(`previous_credential = ${KEY}, previous_secret_created_at = now()`),
    refused('previous_credential_complete')
  )
  await update(`credential = ${KEY}, ${NO_SECRET}`)
  await update(`previous_credential = ${SUBJECT}, ${TIMES}`)
})

t.test('release 0.2.0 rotates and replaces a credential that it does not know', async t => {
  const { update, credentials } = await registrationRow(t)
  // As rotateSecret and replaceSecret of 0.2.0 write it.
  const rotate = () =>
    update(
      `${A_SECRET}, credential_number = credential_number + 1, previous_secret_hash = secret_hash, previous_secret_mac = secret_mac,
       previous_secret_mac_key_id = secret_mac_key_id, previous_secret_created_at = secret_created_at,
       previous_secret_expires_at = now()`
    )
  await update(`credential = ${KEY}, ${NO_SECRET}`)
  await rotate()
  t.same(await credentials(), { kind: null, hash: '$argon2id$', previous: 'key', previous_hash: null })
  await update("secret_hash = '$argon2id$2', secret_mac = decode(repeat('02', 32), 'hex')")
  t.same(await credentials(), { kind: null, hash: '$argon2id$2', previous: 'key', previous_hash: null })
  await rotate()
  t.same(await credentials(), { kind: null, hash: '$argon2id$', previous: null, previous_hash: '$argon2id$2' })
  await update(`credential = ${SUBJECT}, ${NO_SECRET}`)
  await update(A_SECRET)
  t.same(await credentials(), { kind: null, hash: '$argon2id$', previous: null, previous_hash: '$argon2id$2' })
  await update(`previous_credential = ${KEY}, ${NO_PREVIOUS}`)
  await update('previous_secret_expires_at = now()')
  t.same(await credentials(), { kind: null, hash: '$argon2id$', previous: 'key', previous_hash: null })
})

t.test('every constraint of the schema is validated, by a migration of its own', async t => {
  const url = await createDatabase(t)
  t.same(await query(url, 'select conname from pg_constraint where not convalidated'), [])
})

import { strict as assert } from 'node:assert'
import { administer, type Command, command, instanceOf, madeAt, moveExpiry, type Real, type Site } from './model.ts'

/** The life of a registration that has a key: put, and deleted by its key. */

/**
 * Puts a whole registration twice. The first PUT creates or changes it, unless it would shorten it or enable it without
 * being asked. The second one moves no version and has no secret.
 */
export function put(
  of: Site,
  key: string,
  enabled: boolean | undefined,
  scopes: string[],
  ms: number,
  which: number
): Command {
  const label = `put ${key} in ${of}, enabled ${enabled}, [${scopes}], for ${ms} ms, at ${which}`
  return command(label, async (model, real) => {
    const { now } = instanceOf(real, which)
    const members = { name: `keyed ${key}`, scopes, audiences: [], expiresAt: now() + ms }
    const body = { ...members, expiresAt: new Date(members.expiresAt).toISOString(), enabled }
    const send = () => administer(model, real, which, of, 'PUT', pathOfKey(real, of, key), body)
    const answer = await send()
    const known = model.registrations.find(known => known.site === of && known.key === key && !known.isDeleted)
    if (known === undefined) {
      assert.equal(answer.status, 201, answer.text)
      const { clientId, clientSecret } = answer.json()
      assert(model.registrations.every(known => known.clientId !== clientId))
      model.registrations.push({
        ...{ site: of, key, clientId, clientSecret, ...members, enabled: enabled ?? true },
        ...madeAt(now())
      })
    } else {
      const isShorter = members.expiresAt < known.expiresAt
      const isEnabling = enabled === undefined && !known.enabled
      if (isShorter || isEnabling) {
        assert.equal(answer.status, 409, answer.text)
        return assert.equal(answer.json().code, isShorter ? 'would_shorten' : 'would_enable')
      }
      assert.equal(answer.status, 200, answer.text)
      known.hasCutOff ||= known.enabled !== (enabled ?? true)
      const { expiresAt, ...others } = members
      Object.assign(known, others, { enabled: enabled ?? true })
      moveExpiry(known, expiresAt, now())
    }
    const again = await send()
    assert.equal(again.status, 200, again.text)
    assert.equal(again.headers['etag'], answer.headers['etag'])
    assert(!('clientSecret' in again.json()))
  })
}

export function removeByKey(of: Site, key: string, which: number): Command {
  return command(`delete ${key} in ${of} at ${which}`, async (model, real) => {
    const known = model.registrations.find(known => known.site === of && known.key === key && !known.isDeleted)
    const answer = await administer(model, real, which, of, 'DELETE', pathOfKey(real, of, key))
    assert.equal(answer.status, known === undefined ? 404 : 204, answer.text)
    if (known !== undefined) known.isDeleted = true
  })
}

function pathOfKey({ siteIds }: Real, of: Site, key: string): string {
  return `/v1/sites/${siteIds[of]}/keyed-app-registrations/${key}`
}

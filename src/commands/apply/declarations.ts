import { isSiteId } from '../../admin-api/site.ts'
import { isRegistrationKey, KEY_FAULT } from '../../registrations/keyed/key.ts'
import { isMapping, readYaml } from '../yaml.ts'

/** The registrations that a Site is to have. */
export interface Declarations {
  site: string
  registrations: Declaration[]
}

export interface Declaration {
  key: string
  /** Body of the PUT. The service judges it. */
  body: Readonly<Record<string, unknown>>
}

/** Reads the text of a file, which is YAML or JSON. @throws Error with every fault, one line each */
export function readDeclarations(text: string): Declarations {
  const content = readYaml(text)
  const { site, registrations, ...others } = isMapping(content) ? content : {}
  const entries: unknown[] = Array.isArray(registrations) ? registrations : []
  const keys = entries.map(entry => (isMapping(entry) ? entry['key'] : undefined))
  const faults = [
    ...(typeof site === 'string' && isSiteId(site) ? [] : ['site: must be the id of a Site']),
    ...(Array.isArray(registrations) ? [] : ['registrations: must be a list']),
    ...Object.keys(others).map(name => `${name}: is unknown`),
    ...keys.flatMap((key, index) => {
      const place = `registrations[${index}].key`
      if (typeof key !== 'string' || !isRegistrationKey(key)) return [`${place}: ${KEY_FAULT}`]
      return keys.indexOf(key) === index ? [] : [`${place}: ${key} is in the file twice`]
    })
  ]
  if (faults.length > 0) throw new Error(faults.join('\n'))
  return {
    site: String(site),
    registrations: entries.filter(isMapping).map(({ key, ...body }) => ({ key: String(key), body }))
  }
}

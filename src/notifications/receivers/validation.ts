import { invalidRequest } from '../../admin-api/validation.ts'
import type { Fault } from '../../http/problem.ts'
import type { ChannelOptions, Target } from '../channels/channel.ts'
import { CHANNELS, channelOf } from '../channels/channels.ts'
import type { NewReceiver, ReceiverPatch } from './schemas.ts'

interface ValidationOptions {
  channels: ChannelOptions
  /** Steps of the cadence, in days before expiry. */
  steps: readonly number[]
}

/** Returns the members of a body that make up its target. */
export function targetOf(input: NewReceiver | ReceiverPatch): Target {
  const names = new Set(CHANNELS.flatMap(({ members }) => Object.keys(members)))
  return Object.fromEntries(Object.entries(input).filter(([name, value]) => names.has(name) && value !== undefined))
}

/** Returns the faults of a new receiver that the JSON Schema cannot find. */
export async function findCreateFaults(options: ValidationOptions, input: NewReceiver): Promise<Fault[]> {
  const { members, findObstacle } = channelOf(input.kind)
  const target = targetOf(input)
  const missing = Object.keys(members).filter(name => target[name] === undefined)
  const obstacle = findObstacle(options.channels)
  return [
    ...missing.map(name => ({ pointer: `/${name}`, code: 'required', detail: `is required for kind ${input.kind}` })),
    ...(obstacle === undefined ? [] : [obstacle]),
    ...findChangeFaults(options, input.kind, input),
    ...(await targetFaults(options, input))
  ]
}

/**
 * Returns the faults of a body that has others too, so that one answer lists all.
 *
 * @param kind of the receiver. Undefined when it is unknown
 * @param body the members that the schema accepts
 */
export async function findRuleFaults(
  options: ValidationOptions,
  kind: string | undefined,
  body: object,
  isNew: boolean
): Promise<Fault[]> {
  if (kind === undefined) return [...stepFaults(options, body), ...(await targetFaults(options, body))]
  if (isNew) return findCreateFaults(options, { ...body, kind })
  return [...findChangeFaults(options, kind, body), ...(await targetFaults(options, body))]
}

/** Returns the members that a receiver of this kind does not have, and the steps that the cadence does not have. */
export function findChangeFaults(
  options: ValidationOptions,
  kind: string,
  input: NewReceiver | ReceiverPatch
): Fault[] {
  const foreign = Object.keys(targetOf(input)).filter(name => !Object.hasOwn(channelOf(kind).members, name))
  return [
    ...foreign.map(name => ({
      pointer: `/${name}`,
      code: 'unknown_member',
      detail: `is not a member of a receiver of kind ${kind}`
    })),
    ...stepFaults(options, input)
  ]
}

function stepFaults({ steps }: ValidationOptions, input: ReceiverPatch): Fault[] {
  return (input.steps ?? []).flatMap((step, index) =>
    steps.includes(step)
      ? []
      : [{ pointer: `/steps/${index}`, code: 'invalid_value', detail: `must be one of ${steps.join(', ')}` }]
  )
}

/** Returns the faults that the channels find in the members that are given. */
export async function targetFaults(
  { channels }: ValidationOptions,
  input: NewReceiver | ReceiverPatch
): Promise<Fault[]> {
  const target = targetOf(input)
  const concerned = CHANNELS.filter(({ members }) => Object.keys(members).some(name => target[name] !== undefined))
  return (await Promise.all(concerned.map(channel => channel.findFaults(channels, target)))).flat()
}

/** @throws Problem 400 that lists the faults, if there are any */
export function refuseFaults(faults: readonly Fault[]): void {
  if (faults.length > 0) throw invalidRequest(faults)
}

import type { Semaphore } from '../concurrency/semaphore.ts'
import type { Registry } from '../metrics/registry.ts'

/** Measures the pipelined connections. @returns a callback for each connection that is made or lost */
export function measureLanes(registry: Registry): (lane: string, isUp: boolean) => void {
  const lanes = new Map([
    ['lookups', 0],
    ['last uses', 0]
  ])
  for (const lane of lanes.keys()) {
    registry.reading(
      {
        name: 'grantd_database_lanes_up',
        help: 'Pipelined connections that are up. Each process has one per lane.'
      },
      () => lanes.get(lane),
      { lane }
    )
  }
  return (lane, isUp) => lanes.set(lane, isUp ? 1 : 0)
}

/** Measures the callers of a connection pool: those that hold a connection, wait for one, or were rejected. */
export function measurePool(registry: Registry, pool: string, connections: Pick<Semaphore, 'load'>): void {
  const labels = { pool }
  registry.reading(
    { name: 'grantd_database_pool_in_use', help: 'Connections of the pool in use.' },
    () => connections.load.running,
    labels
  )
  registry.reading(
    { name: 'grantd_database_pool_waiting', help: 'Callers that wait for a connection of the pool.' },
    () => connections.load.waiting,
    labels
  )
  registry.reading(
    {
      name: 'grantd_database_pool_rejected_total',
      help: 'Callers that were rejected because no connection of the pool was free in time.',
      type: 'counter'
    },
    () => connections.load.rejected,
    labels
  )
}

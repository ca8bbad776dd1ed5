import type { Semaphore } from '../concurrency/semaphore.ts'
import type { Registry } from '../metrics/registry.ts'

/** Measures the pipelined connections. @returns a callback for each connection that is up or lost */
export function measurePipelinedConnections(registry: Registry): (connection: string, isUp: boolean) => void {
  const up = new Map([
    ['lookups', 0],
    ['last used', 0],
    ['health', 0]
  ])
  for (const connection of up.keys()) {
    registry.reading(
      {
        name: 'grantd_database_connection_up',
        help: 'Pipelined connections that are up. Each process has one of each name.'
      },
      () => up.get(connection),
      { connection }
    )
  }
  return (connection, isUp) => up.set(connection, isUp ? 1 : 0)
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

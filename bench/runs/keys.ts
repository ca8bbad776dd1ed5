import { generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import { adminTokenIn, register, startGrantd } from '../contestants/grantd.ts'
import { formRequest } from '../generator/connection.ts'
import { measureFullLoad, type Sample, warmUp } from '../measure.ts'
import type { Result } from '../report/report.ts'
import { formatSpread, markdownTable, tidy } from '../report/table.ts'
import { pairwiseRatio, spread } from '../statistics.ts'
import { inTurn, type RunOptions } from './run.ts'

/** Each assertion is accepted once, so that a round sends a fixed number of them. */
const ASSERTIONS_PER_ROUND = 4_000

interface KeyClient {
  clientId: string
  privateKey: KeyObject
}

/** Compares clients with keys on P-256 with clients with secrets, on one instance, in interleaved rounds. */
export async function measureKeys(options: RunOptions): Promise<Result> {
  const { rounds, seconds, connections, clients: count, environment, say, postgres } = options
  const secret = await startGrantd('secret', postgres, { clients: count, environment })
  const [port = 0] = secret.server.ports
  const adminToken = await adminTokenIn(secret.command.log ?? '')
  const keyed: KeyClient[] = []
  for (let index = 0; index < count; index++) {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const members = { publicKey: publicKey.export({ format: 'jwk' }) }
    keyed.push({ clientId: (await register(port, adminToken, 'bench-keys', members)).clientId, privateKey })
  }
  const issuer = `http://127.0.0.1:${port}`
  const key = { ...secret, name: 'key', requests: assertionsOf(keyed, issuer) }
  const entries = [
    { contestant: secret, seconds, samples: [] as Sample[] },
    { contestant: key, seconds: 0, samples: [] as Sample[] }
  ]
  await warmUp(secret, connections, seconds)
  await measureFullLoad(key, postgres, { connections, seconds: 0 })
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}`)
    key.requests = assertionsOf(keyed, issuer)
    for (const { contestant, seconds, samples } of inTurn(entries, round))
      samples.push(await measureFullLoad(contestant, postgres, { connections, seconds }))
  }
  return report(entries, options)
}

function report(entries: readonly { contestant: { name: string }; samples: Sample[] }[], options: RunOptions): Result {
  const [secret, key] = entries
  if (secret === undefined || key === undefined) throw new Error('a comparison needs both')
  const columns: [string, (sample: Sample) => number][] = [
    ['tokens/s', sample => sample.tokensPerSecond],
    ['server CPU µs', sample => sample.serverUs],
    ['Postgres CPU µs', sample => sample.postgresUs],
    ['WAL bytes', sample => sample.walBytes],
    ['p99 ms', sample => sample.p99],
    ['failures', sample => sample.failures]
  ]
  const tokens = ({ samples }: { samples: Sample[] }) => samples.map(sample => sample.tokensPerSecond)
  const ratio = pairwiseRatio(tokens(key), tokens(secret))
  return {
    title: 'Keys against secrets',
    load: `Full load: ${options.connections} connections, ${options.clients} clients of each kind, ES256. ${options.rounds} rounds, each of ${ASSERTIONS_PER_ROUND} assertions and of ${options.seconds} s with secrets.`,
    body: markdownTable(
      ['', ...columns.map(([name]) => name)],
      [
        ...entries.map(({ contestant, samples }) => [
          contestant.name,
          ...columns.map(([, read]) => tidy(spread(samples.map(read)).median))
        ]),
        ['ratio of tokens/s', formatSpread(ratio), ...columns.slice(1).map(() => '')]
      ]
    ),
    targets: [{ what: 'tokens/s with keys against secrets', value: ratio, unit: '×', wanted: { least: 0.4 } }],
    foreignShares: entries.flatMap(({ samples }) => samples.map(sample => sample.foreignShare))
  }
}

function assertionsOf(clients: readonly KeyClient[], issuer: string): Buffer[] {
  return Array.from({ length: ASSERTIONS_PER_ROUND }, (_, index) => {
    const client = clients[index % clients.length]
    if (client === undefined) throw new Error('no client')
    return assertionRequest(client, issuer)
  })
}

function assertionRequest({ clientId, privateKey }: KeyClient, issuer: string): Buffer {
  const seconds = Math.floor(Date.now() / 1_000)
  const claims = { iss: clientId, sub: clientId, aud: issuer, iat: seconds, exp: seconds + 60, jti: randomUUID() }
  const input = [{ alg: 'ES256' }, claims]
    .map(part => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')
  const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: `${input}.${signature.toString('base64url')}`
  })
  return formRequest('/oauth/token', form.toString())
}

import { adminTokenIn, type Client, register, startGrantd } from '../contestants/grantd.ts'
import { formRequest } from '../generator/connection.ts'
import { measureFullLoad, type Sample, warmUp } from '../measure.ts'
import type { Result } from '../report/report.ts'
import { formatSpread, markdownTable, tidy } from '../report/table.ts'
import { pairwiseRatio, spread } from '../statistics.ts'
import { inTurn, type RunOptions } from './run.ts'

/** Tokens that no instance has seen before. A round sends each once. */
const NEW_TOKENS_PER_ROUND = 4_000
const GATEWAYS_SITE = 'bench-gateways'
/** Token requests that are under way at once while a round is prepared. */
const ISSUED_AT_ONCE = 16

/**
 * Compares introspection by one gateway with the token endpoint, on one instance, in interleaved rounds: once for tokens
 * that the gateway asks about again and again, once for tokens that are new to the instance.
 */
export async function measureIntrospection(options: RunOptions): Promise<Result> {
  const { rounds, seconds, connections, clients, say, postgres } = options
  const environment = { ...options.environment, INTROSPECTION_SITES: GATEWAYS_SITE }
  const tokens = await startGrantd('token endpoint', postgres, { clients, environment })
  const [port = 0] = tokens.server.ports
  const adminToken = await adminTokenIn(tokens.command.log ?? '')
  const gateway = await register(port, adminToken, GATEWAYS_SITE, { mayIntrospect: true })
  const requestsFor = async (count: number): Promise<Buffer[]> =>
    (await issueTokens(port, tokens.clients, count)).map(token => introspectionRequest(gateway, token))
  const known = { ...tokens, name: 'introspection of known tokens', requests: await requestsFor(clients) }
  const fresh = { ...tokens, name: 'introspection of new tokens', requests: await requestsFor(NEW_TOKENS_PER_ROUND) }
  const entries = [
    { contestant: tokens, seconds, samples: [] as Sample[] },
    { contestant: known, seconds, samples: [] as Sample[] },
    { contestant: fresh, seconds: 0, samples: [] as Sample[] }
  ]
  for (const { contestant, seconds } of entries) await warmUp(contestant, connections, seconds)
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}`)
    fresh.requests = await requestsFor(NEW_TOKENS_PER_ROUND)
    for (const { contestant, seconds, samples } of inTurn(entries, round))
      samples.push(await measureFullLoad(contestant, postgres, { connections, seconds }))
  }
  return report(entries, options)
}

function report(entries: readonly { contestant: { name: string }; samples: Sample[] }[], options: RunOptions): Result {
  const [tokens, known, fresh] = entries.map(({ samples }) => samples)
  if (tokens === undefined || known === undefined || fresh === undefined) throw new Error('a comparison needs all')
  const columns: [string, (sample: Sample) => number][] = [
    ['requests/s', sample => sample.tokensPerSecond],
    ['server CPU µs', sample => sample.serverUs],
    ['Postgres CPU µs', sample => sample.postgresUs],
    ['WAL bytes', sample => sample.walBytes],
    ['p99 ms', sample => sample.p99],
    ['failures', sample => sample.failures]
  ]
  const perSecond = (samples: readonly Sample[]) => samples.map(sample => sample.tokensPerSecond)
  const ratioOf = (samples: readonly Sample[]) => pairwiseRatio(perSecond(samples), perSecond(tokens))
  return {
    title: 'Introspection against the token endpoint',
    load: `Full load: ${options.connections} connections, one gateway, tokens of ${options.clients} clients. ${options.rounds} rounds of ${options.seconds} s, and of ${NEW_TOKENS_PER_ROUND} new tokens.`,
    body: markdownTable(
      ['', ...columns.map(([name]) => name), 'ratio of requests/s'],
      entries.map(({ contestant, samples }) => [
        contestant.name,
        ...columns.map(([, read]) => tidy(spread(samples.map(read)).median)),
        formatSpread(ratioOf(samples))
      ])
    ),
    targets: [
      {
        what: 'introspections/s of known tokens against tokens/s',
        value: ratioOf(known),
        unit: '×',
        wanted: { least: 0.7 }
      },
      {
        what: 'introspections/s of new tokens against tokens/s',
        value: ratioOf(fresh),
        unit: '×',
        wanted: { least: 0.7 }
      }
    ],
    foreignShares: entries.flatMap(({ samples }) => samples.map(sample => sample.foreignShare))
  }
}

/** Issues tokens to these clients in turn. */
async function issueTokens(port: number, clients: readonly Client[], count: number): Promise<string[]> {
  const tokens: string[] = []
  let started = 0
  const issueInTurn = async (): Promise<void> => {
    while (started < count) {
      const client = clients[started++ % clients.length]
      if (client !== undefined) tokens.push(await issueToken(port, client))
    }
  }
  await Promise.all(Array.from({ length: ISSUED_AT_ONCE }, issueInTurn))
  return tokens
}

async function issueToken(port: number, { clientId, clientSecret }: Client): Promise<string> {
  const form = { grant_type: 'client_credentials', client_id: clientId, client_secret: clientSecret }
  const answer = await fetch(`http://127.0.0.1:${port}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams(form)
  })
  const { access_token: token }: { access_token?: string } = JSON.parse(await answer.text())
  if (token === undefined) throw new Error(`cannot issue a token: ${answer.status}`)
  return token
}

function introspectionRequest({ clientId, clientSecret }: Client, token: string): Buffer {
  return formRequest('/oauth/introspect', `client_id=${clientId}&client_secret=${clientSecret}&token=${token}`)
}

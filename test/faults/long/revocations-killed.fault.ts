import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createDatabase } from '../../fixtures/app/database.ts'
import type { Grantd } from '../../fixtures/app/grantd.ts'
import { introspect, postForm, registerGateway, tokenOf } from '../../fixtures/app/introspection.ts'
import type { Client } from '../../fixtures/faults/traffic.ts'
import { startInstance } from '../../fixtures/run/instance.ts'
import { temporaryFolder } from '../../fixtures/run/process.ts'
import { until } from '../../fixtures/run/until.ts'

const KILLS = 10
const CLIENTS = 20
const TOKENS_PER_CLIENT = 15
/** Revocations that are on their way at once. */
const LANES = 8
/** Before a kill, so that one lost revocation in a hundred is found over all kills. */
const MIN_PER_KILL = 20

interface Issued {
  client: Client
  token: string
}

// [FAULT-34]
t.test(
  '10 times kill -9 of an instance while clients revoke tokens: every revocation that was answered holds on the other instance',
  { timeout: 600_000 },
  async t => {
    const DATABASE_URL = await createDatabase(t)
    const environment = {
      ...{ DATA_DIR: temporaryFolder(t), LOG_LEVEL: 'error', ISSUER: 'https://grantd.example' },
      ACCESS_TOKEN_TTL_SECONDS: '3600'
    }
    const { grantd: steady } = await startInstance(t, DATABASE_URL, environment)
    const gateway = await registerGateway(steady)
    const clients: Client[] = []
    for (let client = 0; client < CLIENTS; client++) clients.push(await steady.register())
    let [acknowledged, unanswered, untouched] = [0, 0, 0]
    for (let kill = 0; kill < KILLS; kill++) {
      const unlucky = await startInstance(t, DATABASE_URL, environment)
      const issued = await issueTokens(steady, clients)
      const revoked: Issued[] = []
      const left = [...issued]
      const revoke = async (): Promise<void> => {
        for (let next = left.pop(); next !== undefined; next = left.pop()) {
          const status = await revokeOn(unlucky.grantd, next).catch(() => 0)
          if (status === 200) revoked.push(next)
          else unanswered++
          if (status === 0) return
        }
      }
      const revoking = Promise.all(Array.from({ length: LANES }, revoke))
      await until('some are revoked', () => revoked.length >= MIN_PER_KILL)
      await sleep(Math.random() * 100)
      unlucky.server.child.kill('SIGKILL')
      await unlucky.server.exited
      await revoking
      for (const { token } of revoked) {
        const { status, text } = await introspect(steady, gateway, token)
        t.same({ status, text }, { status: 200, text: '{"active":false}' })
      }
      for (const { token } of left) t.equal((await introspect(steady, gateway, token)).json().active, true)
      acknowledged += revoked.length
      untouched += left.length
    }
    t.comment(
      `${KILLS} kills: 0 of ${acknowledged} acknowledged revocations lost; ${unanswered} had no answer; ${untouched} other tokens stayed active`
    )
  }
)

/** In the order of the tokens of one client after those of another, so that few requests wait for the same row. */
async function issueTokens(grantd: Grantd, clients: readonly Client[]): Promise<Issued[]> {
  const issued: Issued[] = []
  for (let token = 0; token < TOKENS_PER_CLIENT; token++) {
    const tokens = clients.map(async client => ({ client, token: await tokenOf(grantd, client) }))
    issued.push(...(await Promise.all(tokens)))
  }
  return issued
}

async function revokeOn(grantd: Grantd, { client, token }: Issued): Promise<number> {
  const { clientId, clientSecret } = client
  return (await postForm(grantd, '/oauth/revoke', { client_id: clientId, client_secret: clientSecret, token })).status
}

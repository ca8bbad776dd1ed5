import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { Webhook, WebhookVerificationError } from 'standardwebhooks'

/**
 * A receiver of grantd's webhooks: prints each event once, one line of JSON each.
 *
 *   SIGNING_SECRET=whsec_… PORT=4100 node examples/notice-receiver/server.ts
 */

const { SIGNING_SECRET = '', PORT = '4100' } = process.env
const webhook = new Webhook(SIGNING_SECRET)
/** grantd delivers at least once, with the same id each time. A real receiver keeps the ids in its database. */
const seen = new Set<string>()

createServer(async (request, response) => {
  const body = await text(request)
  const header = (name: string) => String(request.headers[name] ?? '')
  try {
    // Verifies the bytes that came, so the body is parsed afterwards only. It also refuses a timestamp that is too old.
    webhook.verify(body, {
      'webhook-id': header('webhook-id'),
      'webhook-timestamp': header('webhook-timestamp'),
      'webhook-signature': header('webhook-signature')
    })
  } catch (error) {
    response.writeHead(error instanceof WebhookVerificationError ? 401 : 500).end()
    return
  }
  if (!seen.has(header('webhook-id'))) process.stdout.write(`${JSON.stringify(JSON.parse(body))}\n`)
  seen.add(header('webhook-id'))
  response.writeHead(204).end()
}).listen(Number(PORT), '127.0.0.1')

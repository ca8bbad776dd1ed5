import t from 'tap'
import { PROBLEM_CODES } from '../../src/http/problem.ts'
import { OAUTH_ERROR_CODES } from '../../src/oauth/oauth-error.ts'
import { startApp } from '../fixtures/app/app.ts'
import { description } from '../fixtures/app/openapi.ts'

t.test('each link of /llms.txt leads to a document, and one of them is openapi.yaml', async t => {
  const grantd = await startApp(t)
  const { text } = await grantd.send('GET', '/llms.txt')
  const links = [...text.matchAll(/\]\(([^)]+)\)/g)].map(([, link = '']) => link)
  t.ok(links.length >= 4)
  t.ok(links.includes(`${grantd.baseUrl}/openapi.yaml`))
  for (const link of links) {
    t.ok(link.startsWith(`${grantd.baseUrl}/`), link)
    t.equal((await grantd.send('GET', link.slice(grantd.baseUrl.length))).status, 200, link)
  }
})

t.test('/llms.txt names five calls as openapi.yaml has them, and every error code', async t => {
  const grantd = await startApp(t)
  const { text } = await grantd.send('GET', '/llms.txt')
  const calls = [...text.matchAll(/^\d\. `(\w+) (\S+)` \((\w+)\)/gm)]
  t.equal(calls.length, 5)
  const named = [...text.matchAll(/`(\w+) (\/v1\/\S+|\/oauth\/\S+)` \((\w+)\)/g)]
  t.ok(named.some(([, , , operationId]) => operationId === 'putKeyedAppRegistration'))
  for (const [, method = '', path = '', operationId] of named) {
    t.equal(description.paths[path]?.[method.toLowerCase()]?.operationId, operationId, path)
  }
  for (const code of [...OAUTH_ERROR_CODES, ...PROBLEM_CODES]) t.match(text, new RegExp(`\\b${code}\\b`))
})

t.test('the links of /llms.txt begin with ISSUER, as those of the metadata do', async t => {
  const grantd = await startApp(t, { environment: { ISSUER: 'https://auth.example.com/grantd/' } })
  const { text } = await grantd.send('GET', '/llms.txt')
  t.match(text, '(https://auth.example.com/grantd/openapi.yaml)')
  t.notMatch(text, grantd.baseUrl)
})

import t from 'tap'
import { startApp } from '../fixtures/app.ts'

t.test('a registration is made, read and exchanged', async t => {
  const grantd = await startApp(t)
  const { clientId, clientSecret, path, answer } = await grantd.register({ name: '  billing  ' })
  t.equal(answer.headers['cache-control'], 'no-store')
  t.equal(answer.headers.location, path)
  t.match(clientId, /^[a-z0-9]{20}$/)
  const token = await grantd.exchange({ clientId, clientSecret })
  t.equal(token.status, 200)
  const read = await grantd.asAdmin('GET', path)
  t.notOk('clientSecret' in read.json())
  t.equal(read.json().name, 'billing')
  t.not(read.json().lastUsedAt, null)
})

import t from 'tap'
import { readOperations } from '../../../src/commands/cli/description.ts'
import { explanation, overview } from '../../../src/commands/cli/help.ts'

const operations = readOperations()

t.test('the overview lists each operation with its summary', async t => {
  const text = overview(operations)
  for (const { id, summary } of operations) t.match(text, new RegExp(`^  ${id} +${summary}$`, 'm'))
})

t.test('the explanation of an operation has its method, its path and every option', async t => {
  for (const operation of operations) {
    const text = explanation(operation)
    t.match(text, `(${operation.method} ${operation.path})`)
    for (const { name } of operation.options) t.match(text, new RegExp(`^  --${name}  \\(`, 'm'))
    t.notMatch(text, /undefined|\[object/)
  }
})

t.test('the explanation shows a call with what is required, and secrets as files', async t => {
  const text = (id: string) =>
    operations
      .filter(operation => operation.id === id)
      .map(explanation)
      .join('')
  t.match(
    text('createAppRegistration'),
    /^npm run --silent cli -- createAppRegistration --siteId acme --name '.+' --expiresAt \S+$/m
  )
  t.match(text('exchangeCredentials'), /^ {2}--client_secret {2}\(password\)$/m)
})

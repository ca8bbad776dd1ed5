import t from 'tap'
import { answerLength, statusOf, tokenRequest } from '../../bench/connection.ts'

t.test('an answer is whole when its body is', async t => {
  const answer = Buffer.from('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}')
  t.equal(answerLength(answer), answer.length)
  t.equal(answerLength(answer.subarray(0, answer.length - 1)), answer.length)
  t.equal(answerLength(answer.subarray(0, 30)), Number.POSITIVE_INFINITY)
  t.equal(statusOf(answer), 200)
})

t.test('an answer whose end nobody can tell is refused', async t => {
  t.throws(() => answerLength(Buffer.from('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')), /Content-Length/)
})

t.test('a token request says how long it is', async t => {
  const [head = '', body = ''] = tokenRequest('/token', 'id', 'secret').toString().split('\r\n\r\n')
  t.match(head, `Content-Length: ${body.length}`)
  t.equal(body, 'grant_type=client_credentials&client_id=id&client_secret=secret')
})

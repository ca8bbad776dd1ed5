import t from 'tap'
import { answerLength, statusOf, tokenRequest } from '../../bench/generator/connection.ts'

t.test('an answer is complete when its body has arrived', async t => {
  const answer = Buffer.from('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}')
  t.equal(answerLength(answer), answer.length)
  t.equal(answerLength(answer.subarray(0, answer.length - 1)), answer.length)
  t.equal(answerLength(answer.subarray(0, 30)), Number.POSITIVE_INFINITY)
  t.equal(statusOf(answer), 200)
})

t.test('an answer without Content-Length is an error', async t => {
  t.throws(() => answerLength(Buffer.from('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')), /Content-Length/)
})

t.test('a token request declares the length of its body', async t => {
  const [head = '', body = ''] = tokenRequest('/token', 'id', 'secret', '&scope=a').toString().split('\r\n\r\n')
  t.match(head, `Content-Length: ${body.length}`)
  t.equal(body, 'grant_type=client_credentials&client_id=id&client_secret=secret&scope=a')
})

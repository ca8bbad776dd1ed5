import t from 'tap'
import { isSameTarget } from '../../../src/oauth/dpop/target-uri.ts'

const ENDPOINT = 'https://auth.example.com/grantd~1/oauth/token'

t.test(
  'targets that differ by what RFC 3986 §6.2.2 and §6.2.3 normalise, by query or by fragment, are one',
  async t => {
    for (const uri of [
      ENDPOINT,
      'HTTPS://auth.example.com/grantd~1/oauth/token',
      'https://AUTH.Example.COM/grantd~1/oauth/token',
      'https://auth.example.com:443/grantd~1/oauth/token',
      'https://auth.example.com/grantd%7E1/oauth/token',
      'https://auth.example.com/grantd%7e1/oauth/%74oken',
      'https://auth.example.com/x/../grantd~1/./oauth/token',
      `${ENDPOINT}?`,
      `${ENDPOINT}?a=b`,
      `${ENDPOINT}#c`,
      `${ENDPOINT}?a=b#c`
    ]) {
      t.ok(isSameTarget(uri, ENDPOINT), uri)
      t.ok(isSameTarget(ENDPOINT, uri), uri)
    }
    t.ok(isSameTarget('http://[::1]:80/t', 'http://[0:0::1]/t'))
    t.ok(isSameTarget('https://a.example/%c3%a9%2f', 'https://a.example/%C3%A9%2F'))
  }
)

t.test('any other target is another one', async t => {
  for (const uri of [
    ...['', '/oauth/token', 'auth.example.com/grantd~1/oauth/token', '//auth.example.com/grantd~1/oauth/token'],
    'http://auth.example.com/grantd~1/oauth/token',
    'https://auth.example.com:8443/grantd~1/oauth/token',
    'https://auth.example.com./grantd~1/oauth/token',
    'https://auth.example.org/grantd~1/oauth/token',
    'https://evil.example/?https://auth.example.com/grantd~1/oauth/token',
    'https://auth.example.com/grantd~1/oauth/token/',
    'https://auth.example.com/grantd~1/oauth//token',
    'https://auth.example.com/grantd~1/oauth/Token',
    'https://auth.example.com/grantd~1/oauth%2Ftoken',
    'https://auth.example.com/grantd~1/oauth/%2574oken',
    'https://auth.example.com/oauth/token',
    'https://auth.example.com'
  ]) {
    t.notOk(isSameTarget(uri, ENDPOINT), uri)
  }
  t.notOk(isSameTarget('https://a.example/%zz', 'https://a.example/zz'))
  t.notOk(isSameTarget('x', 'y'), 'two texts that are no URIs')
})

t.test('a text that only a lenient parser takes for a URI is no target', async t => {
  for (const uri of [
    ` ${ENDPOINT}`,
    `${ENDPOINT} `,
    `${ENDPOINT}\n`,
    ENDPOINT.replace('/oauth', '/o\tauth'),
    ENDPOINT.replace('//', ''),
    ENDPOINT.replace('//', '/'),
    ENDPOINT.replace('//', '\\\\'),
    ENDPOINT.replace('/oauth', '\\oauth'),
    ENDPOINT.replace('auth.example', 'user@auth.example'),
    ENDPOINT.replace('auth.example', 'user:password@auth.example'),
    ENDPOINT.replace('auth.example', '@auth.example'),
    ENDPOINT.replace('auth', 'äuth'),
    ENDPOINT.replace('auth', '\uFF41uth'),
    'https://',
    'https://:443/grantd~1/oauth/token',
    'https://auth.example.com:99999/grantd~1/oauth/token'
  ]) {
    t.notOk(isSameTarget(uri, ENDPOINT), JSON.stringify(uri))
  }
})

import t from 'tap'
import { AddressGuard } from '../../../src/notifications/channels/address-guard.ts'

const guard = new AddressGuard({ items: [], allowsPlainHttp: true })

t.test('the first and last address of every range that is not public are refused (RFC 6890)', async t => {
  for (const address of [
    ...['0.0.0.0', '0.255.255.255', '10.0.0.0', '10.255.255.255', '100.64.0.0', '100.127.255.255'],
    ...[
      '168.63.129.16',
      '127.0.0.1',
      '127.255.255.254',
      '169.254.0.1',
      '169.254.169.254',
      '172.16.0.0',
      '172.31.255.255'
    ],
    ...['192.0.0.1', '192.0.2.1', '192.88.99.1', '192.168.0.0', '192.168.255.255', '198.18.0.1', '198.19.255.255'],
    ...['198.51.100.7', '203.0.113.7', '224.0.0.1', '239.255.255.255', '240.0.0.1', '255.255.255.255'],
    ...['::', '::1', '::2', '::ffff:127.0.0.1', '::ffff:8.8.8.8', '::ffff:0:7f00:1', '::127.0.0.1'],
    ...[
      '64:ff9b::7f00:1',
      '64:ff9b::',
      '64:ff9b::a00:1',
      '64:ff9b::a9fe:a9fe',
      '64:ff9b:1::1',
      '100::1',
      '2001::1',
      '2001:0:7f00:1::',
      '2001:2::1'
    ],
    ...['2001:10::1', '2001:20::1', '2001:db8::1', '2002:7f00:1::', '2002:808:808::1', '3fff::1', '3fff:fff::1'],
    ...['5f00::1', 'fc00::1', 'fdff::1', 'fe80::1', 'febf::1', 'fec0::1', 'ff02::1', 'ff0e::1'],
    ...['fe80::1%eth0', '2606:4700::1111%eth0', 'localhost', '', '1.2.3', '1.2.3.4.5', '256.1.1.1']
  ]) {
    t.notOk(guard.allows('hooks.example.com', address), address)
  }
})

t.test('public addresses are allowed, also next to other ranges and behind NAT64 (RFC 6052)', async t => {
  for (const address of [
    ...['1.1.1.1', '8.8.8.8', '9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0', '126.255.255.255'],
    ...['128.0.0.1', '169.253.255.255', '172.15.255.255', '172.32.0.0', '192.0.1.1', '192.167.255.255', '198.17.0.1'],
    ...['198.20.0.1', '223.255.255.255', '2606:4700::1111', '2a00:1450:4001::1', '2001:4860:4860::8888', '2003::1'],
    ...['64:ff9b::808:808', '64:ff9b::8.8.8.8', '64:FF9B:0:0:0:0:808:808', '168.63.129.15', '168.63.129.17']
  ]) {
    t.ok(guard.allows('hooks.example.com', address), address)
  }
})

// [NOTICE-1]
t.test('a URL to a private address is refused in every spelling of the address', async t => {
  for (const url of [
    ...['https://127.0.0.1/', 'https://2130706433/', 'https://0x7f000001/', 'https://0x7f.1/', 'https://0177.0.0.1/'],
    ...['https://017700000001/', 'https://127.1/', 'https://127.0.0.1./', 'https://①②⑦.0.0.1/', 'https://%31%32%37.1/'],
    ...['https://0/', 'https://10.1/', 'https://192.168.257/', 'https://169.254.169.254/latest/meta-data'],
    ...['https://[::1]/', 'https://[::]/', 'https://[::ffff:127.0.0.1]/', 'https://[::ffff:a9fe:a9fe]/'],
    ...['https://[64:ff9b::127.0.0.1]/', 'https://[2002:7f00:1::]/', 'https://[fe80::1]/', 'https://[fd00::1]:8443/'],
    ...['https://localhost/', 'https://LOCALHOST./', 'https://a.localhost/', 'https://a.localhost./x']
  ]) {
    t.match(guard.urlFault(url), /must lead to a public address/, url)
  }
})

// [NOTICE-9]
t.test('a URL must be absolute and https, without credentials and fragment', async t => {
  for (const url of [
    ...['http://hooks.example.com/', 'http://8.8.8.8/', 'http://127.0.0.1/', 'http://localhost/', 'ftp://example.com/'],
    ...['file:///etc/passwd', 'javascript:alert(1)', 'data:,x', 'gopher://example.com', 'unix:/run/x', '//example.com'],
    ...[
      'hooks.example.com',
      '',
      'https://',
      'https://user@example.com/',
      'https://user:p@example.com/',
      'https://:p@e.com/'
    ],
    ...['https://example.com/#x', 'https://example.com/#'],
    ...['https://example.com/\r\nX: y', '\thttps://example.com/', 'https://example.com/\u202etxt', 'https:example.com'],
    ...['https://example.com\\@127.0.0.1/', 'https:\\\\example.com/', 'https://example.com/ x']
  ]) {
    t.match(guard.urlFault(url), /^must/, url)
  }
  for (const url of [
    'https://hooks.example.com/a?b=c',
    'https://8.8.8.8:8443/',
    'HTTPS://EXAMPLE.com',
    'https://bücher.example/'
  ]) {
    t.equal(guard.urlFault(url), undefined, url)
  }
})

t.test('NOTICE_WEBHOOK_ALLOW allows what it lists, and nothing else', async t => {
  const allowing = new AddressGuard({
    items: ['10.1.0.0/16', '::1', '127.0.0.1', 'hooks.internal'],
    allowsPlainHttp: true
  })
  for (const address of ['10.1.0.1', '10.1.255.255', '::1', '127.0.0.1'])
    t.ok(allowing.allows('x.example', address), address)
  for (const address of ['10.0.255.255', '10.2.0.0', '127.0.0.2', '::2', '192.168.0.1']) {
    t.notOk(allowing.allows('x.example', address), address)
  }
  t.ok(allowing.allows('hooks.internal', '192.168.0.1'), 'a host may lead anywhere')
  t.notOk(allowing.allows('a.hooks.internal', '192.168.0.1'), 'not what is under it')
  t.equal(allowing.urlFault('https://127.0.0.1/'), undefined)
  t.equal(allowing.urlFault('https://10.1.2.3/'), undefined)
  t.match(allowing.urlFault('https://10.2.2.3/'), /must lead to a public address/)
})

t.test('plain http is allowed to an allow-listed loopback address only, and never in production', async t => {
  const items = ['127.0.0.1', 'localhost', '10.0.0.0/8', 'hooks.internal']
  const development = new AddressGuard({ items, allowsPlainHttp: true })
  t.equal(development.urlFault('http://127.0.0.1:8080/'), undefined)
  t.equal(development.urlFault('http://localhost/'), undefined)
  for (const url of [
    'http://10.0.0.1/',
    'http://hooks.internal/',
    'http://127.0.0.2/',
    'http://[::1]/',
    'http://8.8.8.8/'
  ]) {
    t.match(development.urlFault(url), /https/, url)
  }
  const production = new AddressGuard({ items, allowsPlainHttp: false })
  for (const url of ['http://127.0.0.1:8080/', 'http://localhost/']) t.match(production.urlFault(url), /https/, url)
  t.equal(production.urlFault('https://127.0.0.1:8080/'), undefined)
})

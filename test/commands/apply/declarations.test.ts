import t from 'tap'
import { stringify } from 'yaml'
import { readDeclarations } from '../../../src/commands/apply/declarations.ts'

t.test('a file is YAML or JSON, and the body of an entry is everything but its key', async t => {
  const body = { name: 'Device sync', expiresAt: '2027-11-27T08:00:00Z', scopes: ['on', 'no'], mayIdle: true }
  const file = { site: 'acme', registrations: [{ key: 'device-sync', ...body }, { key: '1.2' }] }
  const declarations = {
    site: 'acme',
    registrations: [
      { key: 'device-sync', body },
      { key: '1.2', body: {} }
    ]
  }
  t.same(readDeclarations(stringify(file)), declarations)
  t.same(readDeclarations(JSON.stringify(file)), declarations)
  const plain = 'site: acme\nregistrations:\n- { key: a, name: yes, expiresAt: 2027-11-27T08:00:00Z }'
  const expected = [{ key: 'a', body: { name: 'yes', expiresAt: '2027-11-27T08:00:00Z' } }]
  t.same(readDeclarations(plain).registrations, expected, 'an instant and "yes" are text')
})

t.test('every fault of a file is in one message', async t => {
  const entries = [{ key: 'A' }, { key: 'a' }, { key: 'a' }, 1, { key: 12 }, {}]
  const fault = 'must be 1 to 63 lower-case letters, digits and ".", "_", "-", with a letter or digit at the start'
  t.throws(() => readDeclarations(stringify({ site: 'no site', owner: 'x', registrations: entries })), {
    message: [
      'site: must be the id of a Site',
      'owner: is unknown',
      `registrations[0].key: ${fault}`,
      'registrations[2].key: a is in the file twice',
      ...[3, 4, 5].map(index => `registrations[${index}].key: ${fault}`)
    ].join('\n')
  })
})

t.test('a text that is no such file is refused', async t => {
  for (const [text, message] of [
    ['', /^site: must be the id of a Site\nregistrations: must be a list$/],
    ['- a', /^site: must be/],
    ['site: acme', /^registrations: must be a list$/],
    ['site: acme\nsite: globex\nregistrations: []', /^line 2, column 1: the key is there already$/],
    ['site: acme\nregistrations: [', /^line 2, column /],
    [
      'site: acme\nregistrations: []\n---\nsite: globex',
      /^line 3, column 1: a second document begins here, and only one is read$/
    ],
    ['site: acme\nregistrations: [!secret x]', /^line 2, column 17: the tag is unknown/],
    ['? [a]\n: b', /^line 1, column 3: a key must be a text/]
  ] as const) {
    t.throws(() => readDeclarations(text), { message }, text)
  }
})

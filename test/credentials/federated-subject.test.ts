import t from 'tap'
import { federatedFaults } from '../../src/credentials/federated-subject.ts'

const GITHUB = 'https://token.actions.githubusercontent.com'
const CLUSTER = 'https://cluster.example'

t.test('an issuer is accepted only when it is exactly one that the service trusts', async t => {
  t.same(federatedFaults({ issuer: GITHUB, subject: 'repo:acme/api:ref:refs/heads/main' }, [GITHUB, CLUSTER]), [])
  for (const issuer of [`${GITHUB}/`, GITHUB.toUpperCase(), 'http://token.actions.githubusercontent.com', '']) {
    t.match(federatedFaults({ issuer, subject: 'repo:acme/api' }, [GITHUB, CLUSTER]), [
      {
        pointer: '/issuer',
        code: 'untrusted_issuer',
        detail: `must be exactly one of the issuers that this service trusts: ${GITHUB}, ${CLUSTER}`
      }
    ])
  }
  t.match(federatedFaults({ issuer: GITHUB, subject: 'repo:acme/api' }, []), [{ detail: /FEDERATED_ISSUERS/ }])
})

t.test('a subject is any visible text, as platforms write it', async t => {
  for (const subject of [
    'system:serviceaccount:payments:billing-export',
    'repo:acme/api:environment:Production EU',
    'spiffe://acme.example/ns/payments/sa/billing',
    'Zürich 東京'
  ]) {
    t.same(federatedFaults({ issuer: CLUSTER, subject }, [CLUSTER]), [], subject)
  }
  for (const subject of ['a\0', 'a\nb', ' a', 'a ', '\ud800', 'a\u202eb', 'a\u200bb']) {
    const faults = federatedFaults({ issuer: CLUSTER, subject }, [CLUSTER])
    t.match(faults, [{ pointer: '/subject', code: 'invalid_character' }], JSON.stringify(subject))
  }
})

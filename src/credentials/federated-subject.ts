import type { Fault } from '../http/problem.ts'
import type { FederatedCredential } from './credential.ts'

/** A workload as a caller names it. */
export type FederatedSubject = Omit<FederatedCredential, 'kind'>

/** A SPIFFE ID, the longest subject of a known platform, has at most this many. */
export const SUBJECT_MAX_LENGTH = 2_048

/** Controls, format characters, lone surrogates and separators of lines. They look like nothing, or like another text. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u

/**
 * Returns what is wrong with a federated subject. Issuer and subject are compared exactly, so neither is normalised.
 *
 * @param trustedIssuers issuers that the whole service trusts
 * @returns faults whose pointers lead to members of the subject
 */
export function federatedFaults({ issuer, subject }: FederatedSubject, trustedIssuers: readonly string[]): Fault[] {
  const faults: Fault[] = []
  if (!trustedIssuers.includes(issuer)) {
    faults.push({ pointer: '/issuer', code: 'untrusted_issuer', detail: untrusted(trustedIssuers) })
  }
  if (INVISIBLE.test(subject) || subject.trim() !== subject) {
    const detail = 'must have no control or invisible characters, and no space at either end'
    faults.push({ pointer: '/subject', code: 'invalid_character', detail })
  }
  if (subject === issuer) {
    const detail =
      'must differ from issuer, because an assertion whose sub is its iss is one that a client has made itself'
    faults.push({ pointer: '/subject', code: 'invalid_value', detail })
  }
  return faults
}

function untrusted(trustedIssuers: readonly string[]): string {
  if (trustedIssuers.length === 0)
    return 'cannot be trusted, because this service trusts no issuers (FEDERATED_ISSUERS)'
  return `must be exactly one of the issuers that this service trusts: ${trustedIssuers.join(', ')}`
}

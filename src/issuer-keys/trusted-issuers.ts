import type { JWTVerifyGetKey } from 'jose'
import { SECOND_MS } from '../time.ts'
import { keyFetcher } from './discovery.ts'
import { IssuerKeys, type IssuerLog } from './issuer-keys.ts'
import { KeyFile } from './key-file.ts'

export interface TrustedIssuersOptions {
  /** Without a file, the keys of an issuer come from its discovery document. */
  issuers: readonly { issuer: string; keyFile: string | undefined }[]
  /** Whether keys may come by plain http from this machine. */
  allowsLoopback: boolean
}

/** The longest that a token request waits for the keys of an issuer. */
const MAX_WAIT_MS = SECOND_MS

/** The issuers whose tokens prove workloads, as FEDERATED_ISSUERS lists them. */
export class TrustedIssuers {
  readonly #keys = new Map<string, IssuerKeys | KeyFile>()

  /** Fetches nothing before the first token comes. @throws Error that says what is wrong with a file */
  constructor({ issuers, allowsLoopback }: TrustedIssuersOptions, log: IssuerLog) {
    for (const { issuer, keyFile } of issuers) {
      const fetchKeys = keyFetcher({ issuer, jwksUri: undefined, allowsLoopback })
      this.#keys.set(
        issuer,
        keyFile === undefined
          ? new IssuerKeys({ issuer, fetchKeys, maxWaitMs: MAX_WAIT_MS, log })
          : new KeyFile(issuer, keyFile, log)
      )
    }
  }

  /** Returns what finds the key of a token; undefined when the issuer is not trusted. */
  keysOf(issuer: string): JWTVerifyGetKey | undefined {
    return this.#keys.get(issuer)?.find
  }

  /** Reads the files of keys again. */
  rereadFiles(): void {
    for (const keys of this.#keys.values()) if (keys instanceof KeyFile) keys.reread()
  }
}

import type { SignedJwt } from './signed-jwt.ts'

/** A credential as a client presents it. Each kind of credential is one member of this union. */
export type PresentedCredential = PresentedSecret | PresentedAssertion

export interface PresentedSecret {
  readonly kind: 'secret'
  readonly secret: string
}

export interface PresentedAssertion {
  readonly kind: 'assertion'
  readonly assertion: SignedJwt
  /** Whether the client has made it itself: `iss` equals `sub`. Else it is a token of a federated issuer. */
  readonly isOwn: boolean
}

/** The client that a request names, with the credential that it presents. Nothing of it is verified yet. */
export interface PresentedClient {
  readonly clientId: string
  readonly credential: PresentedCredential
}

/** A method by which clients authenticate. `name` is from the registry of RFC 8414 §2. */
export interface ClientAuthenticationMethod {
  readonly name: string
  /** Whether a request authenticates by this method, well or badly. */
  isUsed: (authorization: string | undefined, parameters: ReadonlyMap<string, string>) => boolean
  /** @throws OAuthError `invalid_client` */
  read: (authorization: string | undefined, parameters: ReadonlyMap<string, string>) => PresentedClient
}

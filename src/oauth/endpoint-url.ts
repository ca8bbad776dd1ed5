/** Returns the public URL of an endpoint. It comes from ISSUER, never from a request, so that no proxy can confuse it. */
export function endpointUrl(issuer: string, path: string): string {
  return `${issuer.replace(/\/$/, '')}${path}`
}

import type { Registration } from '../repository.ts'

/** Whether the cut-off of a registration has stopped its tokens of this instant. @param issuedAt milliseconds since the epoch */
export function isCutOff(
  { tokens_valid_from: validFrom }: Pick<Registration, 'tokens_valid_from'>,
  issuedAt: number
): boolean {
  return validFrom !== null && issuedAt < validFrom.getTime()
}

/** Larger than any body of the API. */
export const BODY_LIMIT_BYTES = 16_384
/** Room for an admin token that lists more than a thousand Sites. Node rejects longer headers with 431. */
export const HEADERS_LIMIT_BYTES = 32_768

/** A limit as messages show it. */
export const kib = (bytes: number): string => `${bytes / 1_024} KiB`

/** The field and the curve of Ed25519 (RFC 8032 §5.1). */
const P = 2n ** 255n - 19n
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n

const POINT_BYTES = 32
const SIGN_BIT = 2n ** 255n

/**
 * Whether these bytes encode a point of the curve that is fit to be a public key.
 *
 * OpenSSL accepts any 32 bytes. Bytes that are no point never verify a signature. A point of small order verifies
 * signatures that anybody can make.
 *
 * @see RFC 8032 §5.1.3, §5.1.7
 */
export function isEd25519PublicKey(bytes: Buffer): boolean {
  if (bytes.length !== POINT_BYTES) return false
  const y = BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`) % SIGN_BIT
  if (y >= P) return false
  // x² = (y² − 1) / (d y² + 1). The divisor is never 0, because −1/d is not a square.
  const ySquared = (y * y) % P
  const xSquared = modulo((ySquared - 1n) * inverse(D * ySquared + 1n))
  return isSquare(xSquared) && !isOfSmallOrder(xSquared, ySquared)
}

/**
 * Whether a point doubled three times is the neutral element: its order is 1, 2, 4 or 8. These have x = 0, y = 0 or, when
 * doubling leads to y = 0, x² = −y².
 */
function isOfSmallOrder(xSquared: bigint, ySquared: bigint): boolean {
  return xSquared === 0n || ySquared === 0n || modulo(xSquared + ySquared) === 0n
}

/** Euler's criterion. */
function isSquare(number: bigint): boolean {
  return number === 0n || power(number, (P - 1n) / 2n) === 1n
}

/** Fermat's little theorem. */
function inverse(number: bigint): bigint {
  return power(modulo(number), P - 2n)
}

function power(base: bigint, exponent: bigint): bigint {
  let [result, square] = [1n, base]
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest % 2n === 1n) result = (result * square) % P
    square = (square * square) % P
  }
  return result
}

function modulo(number: bigint): bigint {
  return ((number % P) + P) % P
}

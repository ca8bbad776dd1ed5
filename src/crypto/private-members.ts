/** Members of private and of symmetric keys in a JWK (RFC 7518 §6.2.2, §6.3.2, §6.4.1, RFC 8037 §2). The key type AKP has `priv`. */
export const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv']

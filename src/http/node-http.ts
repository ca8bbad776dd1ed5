/** node:http, loaded without an import. An import would load undici too, which takes 30 ms of every start. */
export const { METHODS, STATUS_CODES, ServerResponse, createServer, request } = process.getBuiltinModule('node:http')

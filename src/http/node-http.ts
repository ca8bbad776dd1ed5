/** node:http as CommonJS has it: to import it loads undici too, which takes 30 ms of every start. */
export const { STATUS_CODES, createServer, request } = process.getBuiltinModule('node:http')

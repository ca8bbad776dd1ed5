import process from 'node:process'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

/* Runs the TypeScript program of docs/clients.md by the protocol of ../program.ts. The argument is its file. */

const { accessToken } = await import(pathToFileURL(process.argv[2] ?? '').href)

for await (const line of createInterface(process.stdin)) {
  const [count, rejected] = line.split(' ')
  const results = await Promise.all(
    Array.from({ length: Number(count) }, () =>
      accessToken(rejected === '-' ? undefined : rejected).catch((error: Error) => `error: ${error.message}`)
    )
  )
  process.stdout.write(`${results.map(result => result.replaceAll(/\s+/g, ' ')).join('\t')}\n`)
}

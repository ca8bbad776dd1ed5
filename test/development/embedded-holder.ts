import { startEmbeddedPostgres } from '../../src/development/embedded-postgres.ts'

/** A process that starts or joins the embedded Postgres of a folder, says where it is, and holds it until killed or left alone. */

const [folder = ''] = process.argv.slice(2)
const { ownerUrl } = await startEmbeddedPostgres(folder)
process.stdout.write(`${ownerUrl}\n`)
// Its input ends with the process that started it, however that ends.
process.stdin.on('end', () => process.exit()).resume()

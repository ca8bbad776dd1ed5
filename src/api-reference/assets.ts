import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { Worker } from 'node:worker_threads'

/** A file that is served. All answers share one buffer, so that many slow readers cost no memory each. */
export interface Asset {
  content: Buffer
  etag: string
}

const OPENAPI_FILE = path.join(import.meta.dirname, '../../openapi.yaml')
const SCALAR_WORKER = path.join(import.meta.dirname, 'scalar-worker.ts')

/** Returns openapi.yaml. */
export const openApiDocument = loadedOnce(() => readFile(OPENAPI_FILE))

/** Returns the script of the API reference. Loads it in a thread of its own when it is first asked for. */
export const scalarScript = loadedOnce(async () => {
  const worker = new Worker(SCALAR_WORKER)
  try {
    const [script] = await once(worker, 'message')
    return Buffer.from(script)
  } finally {
    await worker.terminate()
  }
})

export function textAsset(text: string): Asset {
  const content = Buffer.from(text)
  return { content, etag: `"${digest(content)}"` }
}

/** Loads an asset on first use. A load that fails is tried again by the next caller. */
function loadedOnce(load: () => Promise<Buffer>): () => Promise<Asset> {
  let loading: Promise<Asset> | undefined
  const loadAsset = async (): Promise<Asset> => {
    try {
      const content = await load()
      return { content, etag: `"${digest(content)}"` }
    } catch (error) {
      loading = undefined
      throw error
    }
  }
  return () => {
    loading ??= loadAsset()
    return loading
  }
}

export function digest(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('base64')
}

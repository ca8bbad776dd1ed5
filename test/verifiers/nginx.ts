import { once } from 'node:events'
import { chmodSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import path from 'node:path'
import type { Test } from 'tap'
import { freePort } from '../fixtures/app/app.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'
import { exampleOf, type Replacements } from './page.ts'
import { startProgram } from './program.ts'

/** For `leftOutFor`. */
export const NGINX = {
  '/usr/sbin/nginx': 'nginx-light',
  '/usr/lib/nginx/modules/ngx_http_js_module.so': 'libnginx-mod-http-js'
}

/**
 * Starts nginx with an example, in front of an API that answers every request.
 *
 * @param scripts texts of the files beside its configuration, by name
 * @returns the port of nginx
 */
export async function startNginx(
  t: Test,
  heading: string,
  replacements: Replacements,
  scripts: Record<string, string> = {}
): Promise<number> {
  const folder = temporaryFolder(t)
  // nginx serves as another user when it is started by root.
  chmodSync(folder, 0o755)
  const port = await freePort()
  const example = exampleOf(heading, {
    ...replacements,
    '127.0.0.1:4000': `127.0.0.1:${port}`,
    '127.0.0.1:8080': `127.0.0.1:${await startApi(t)}`
  })
  for (const [name, text] of Object.entries(scripts)) writeFileSync(path.join(folder, name), text)
  const lines = [
    ...Object.keys(scripts)
      .slice(0, 1)
      .map(() => 'load_module /usr/lib/nginx/modules/ngx_http_js_module.so;'),
    'daemon off;',
    'worker_processes 1;',
    `pid ${folder}/pid;`,
    `error_log ${folder}/error.log;`,
    'events { worker_connections 64; }',
    'http {',
    'access_log off;',
    ...['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(name => `${name}_temp_path ${folder}/${name};`),
    example,
    '}'
  ]
  const file = path.join(folder, 'nginx.conf')
  writeFileSync(file, lines.join('\n'))
  startProgram(t, '/usr/sbin/nginx', ['-p', folder, '-c', file, '-e', path.join(folder, 'error.log')])
  return port
}

async function startApi(t: Test): Promise<number> {
  const port = await freePort()
  const api = createServer((_, response) => response.end('devices'))
  api.listen(port, '127.0.0.1')
  await once(api, 'listening')
  t.teardown(() => {
    api.closeAllConnections()
    api.close()
  })
  return port
}

import { readFileSync } from 'node:fs'
import path from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { ROOT } from '../fixtures/run/paths.ts'

// [LOAD-14]
t.test(
  'openapi.yaml and the script of the page are served with a tag, and not sent again to a reader that has it',
  async t => {
    const grantd = await startApp(t)
    for (const [file, type] of [
      ['/openapi.yaml', /yaml/],
      ['/llms.txt', /^text\/plain; charset=utf-8$/],
      ['/docs/js/scalar.js', /javascript/]
    ] as const) {
      const first = await grantd.send('GET', file)
      t.equal(first.status, 200, file)
      t.match(first.headers['content-type'], type)
      const etag = String(first.headers['etag'])
      for (const tag of [etag, `W/${etag}`, `"other", ${etag}`]) {
        const again = await grantd.send('GET', file, { headers: { 'if-none-match': tag } })
        t.equal(again.status, 304, `${file} ${tag}`)
        t.equal(again.text, '')
      }
      t.equal((await grantd.send('GET', file, { headers: { 'if-none-match': '"other"' } })).status, 200)
    }
    t.equal((await grantd.send('GET', '/openapi.yaml')).text, readFileSync(path.join(ROOT, 'openapi.yaml'), 'utf8'))
  }
)

t.test('loading the script of the page does not stall other requests', async t => {
  const grantd = await startApp(t)
  await grantd.send('GET', '/docs/')
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const startedAt = performance.now()
  const script = await grantd.send('GET', '/docs/js/scalar.js')
  const elapsedMs = performance.now() - startedAt
  delay.disable()
  t.match(script, { status: 200, text: /createApiReference/ })
  const stallMs = delay.max / 1e6
  t.ok(stallMs < elapsedMs / 2, `the longest stall was ${Math.round(stallMs)} of ${Math.round(elapsedMs)} ms`)
})

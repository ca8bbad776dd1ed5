import t from 'tap'
import { PAGES, readPage, withAnswers } from '../../tools/answers.ts'
import { createDatabase } from '../fixtures/app/database.ts'
import { blockBelow } from '../guides/program.ts'

/** The program that `npm run test:guides` runs. */
const guide = blockBelow('curl', 'bash')

for (const name of PAGES.filter(name => name !== 'README.md')) {
  const page = readPage(name)

  t.test(`the commands of ${name} print what it shows, in the order of the page; "npm run docs" writes it`, async t => {
    t.match(page, '```console\n$ ')
    t.equal(await withAnswers(page, await createDatabase(t)), page)
  })

  t.test(`every curl command of ${name} is one that is run`, async t => {
    for (const [, language = '', block = ''] of page.matchAll(/^ *```(.*)\n([\s\S]*?)^ *```$/gm)) {
      const isRun = language.startsWith('console') || block === guide
      if (!isRun) t.notMatch(block, 'curl ')
    }
  })
}

t.test('a command that is refused fails its page, unless the page says that it is refused', async t => {
  // With -X it is not repeated until the answer is that of the page.
  const page = (language: string) => `\`\`\`${language}\n$ curl -sS -X GET http://127.0.0.1:3000/v1/nowhere\n\`\`\`\n`
  await t.rejects(withAnswers(page('console'), await createDatabase(t)), { message: /^this command failed: .*nowhere/ })
  t.match(await withAnswers(page('console refused'), await createDatabase(t)), '"status":404')
})

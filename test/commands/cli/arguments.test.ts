import t from 'tap'
import { readArguments, UsageError } from '../../../src/commands/cli/arguments.ts'

t.test('options of the operation and of the command line may come in any order, with = or without', async t => {
  const words = ['op', '--limit=5', '--output', 'table', '--enabled', '--name', '-', '--all', '-f', '-', '--skip', '-3']
  t.match(readArguments(words), {
    operationId: 'op',
    given: [
      { name: 'limit', value: '5' },
      { name: 'enabled', value: undefined },
      { name: 'name', value: '-' },
      { name: 'skip', value: '-3' }
    ],
    ...{ file: '-', output: 'table', isAll: true, isHelp: false }
  })
  t.same(readArguments(['op', '--x', '', '--y=', '--z=a=b\nc']).given, [
    { name: 'x', value: '' },
    { name: 'y', value: '' },
    { name: 'z', value: 'a=b\nc' }
  ])
})

t.test('--help needs no operation', async t => {
  t.match(readArguments(['--help']), { operationId: undefined, isHelp: true })
  t.match(readArguments(['-h']), { operationId: undefined, isHelp: true })
})

t.test('a word that is no option, an unknown output and a file without a name are refused', async t => {
  for (const words of [
    ['op', 'acme'],
    ['op', '--output', 'csv'],
    ['op', '-f'],
    ['op', '--'],
    ['op', '-x', '1']
  ]) {
    t.throws(() => readArguments(words), UsageError, words.join(' '))
  }
})

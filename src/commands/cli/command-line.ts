import type { CalledService } from '../called-service.ts'
import { accepted } from './accepted.ts'
import { type Answer, listIn, printed, table } from './answer.ts'
import { type Arguments, readArguments, UsageError } from './arguments.ts'
import { call } from './call.ts'
import { candidates, completionScript } from './completion.ts'
import type { Operation, Schema } from './description.ts'
import { explanation, overview } from './help.ts'
import { requestOf } from './request.ts'

export interface Surroundings {
  /** Reads openapi.yaml. */
  operations: () => readonly Operation[]
  /** Returns the grantd to call. Help and completion need none. */
  service: () => CalledService
  /** Words that run the command line, for the completion of a shell. */
  command: readonly string[]
  /** Prints a result. */
  print: (text: string) => void
  /** Prints a note for a person, beside the result. */
  note: (text: string) => void
}

/**
 * Does what was typed: calls an operation, or explains and completes calls.
 *
 * @throws UsageError when the words are wrong
 * @throws Error with the refusal of grantd, or when it cannot be reached
 */
export async function runCommandLine(words: readonly string[], surroundings: Surroundings): Promise<void> {
  const { operations, command, print } = surroundings
  const [first, ...others] = words
  if (first === 'complete') print(candidates(operations(), others).join('\n'))
  else if (first === 'completion') print(completionScript(command, others))
  else await callOrExplain(readArguments(words), surroundings)
}

async function callOrExplain(typed: Arguments, surroundings: Surroundings): Promise<void> {
  const { operationId, isHelp } = typed
  const operations = surroundings.operations()
  const operation = operations.find(({ id }) => id === operationId)
  if (operationId === undefined) surroundings.print(overview(operations))
  else if (operation === undefined) {
    throw new UsageError(`openapi.yaml has no operation "${operationId}". "npm run cli -- --help" lists them`)
  } else if (isHelp) surroundings.print(explanation(operation))
  else await callOperation(operation, typed, surroundings)
}

async function callOperation(operation: Operation, typed: Arguments, surroundings: Surroundings): Promise<void> {
  const list = listIn(operation.answer)
  if (list === undefined && (typed.output === 'table' || typed.isAll)) {
    throw new UsageError(`${operation.id} does not return a list`)
  }
  const unknown = typed.columns?.find(name => !(name in (list?.item.properties ?? {})))
  if (unknown !== undefined) throw new UsageError(unknownColumn(operation, list?.item, unknown))
  const service = surroundings.service()
  const request = requestOf(operation, typed, service.baseUrl)
  const token = await tokenFor(operation, service)
  const answer = await accepted(operation, call(request, token))
  if (typed.isIncluding) surroundings.note(headOf(answer))
  if (list === undefined) {
    if (answer.body !== '') surroundings.print(printed(answer.body))
    return
  }

  const items = [...itemsOf(answer, list.name)]
  let last = answer
  while (typed.isAll && cursorOf(last) !== undefined) {
    request.url.searchParams.set('cursor', cursorOf(last) ?? '')
    last = await accepted(operation, call(request, token))
    items.push(...itemsOf(last, list.name))
  }
  printList({ ...list, items, last }, typed, surroundings)
}

function unknownColumn({ id }: Operation, item: Schema | undefined, name: string): string {
  const names = Object.keys(item?.properties ?? {})
  return names.length === 0 ? `${id} does not return a list` : `--columns: "${name}" is none of ${names.join(', ')}`
}

interface List {
  /** Name of the list in an answer. */
  name: string
  item: Schema
  items: readonly unknown[]
  /** Answer with the last page. */
  last: Answer
}

function printList(
  { name, item, items, last }: List,
  { output, columns }: Arguments,
  { print, note }: Surroundings
): void {
  if (output === 'json') {
    print(printed({ ...Object(last.body), [name]: items }))
    return
  }
  print(table(items, item, columns))
  const cursor = cursorOf(last)
  if (cursor !== undefined) note(`There are more. Add --all, or --cursor ${cursor}`)
}

async function tokenFor({ bearer }: Operation, service: CalledService): Promise<string | undefined> {
  if (bearer === 'none') return undefined
  return bearer === 'administrator' ? service.adminToken() : service.token()
}

function itemsOf({ body }: Answer, name: string): readonly unknown[] {
  return Object(body)[name] ?? []
}

function cursorOf({ body }: Answer): string | undefined {
  return Object(body).nextCursor ?? undefined
}

function headOf({ status, headers }: Answer): string {
  return [status, ...[...headers].map(([name, value]) => `${name}: ${value}`)].join('\n')
}

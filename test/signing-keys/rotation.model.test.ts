import t from 'tap'
import {
  cacheMs,
  isNextKeyDue,
  isRetired,
  type KeyTimes,
  nextKeyTimes,
  publishedKeys,
  signingKey,
  type Timing,
  timing
} from '../../src/signing-keys/rotation.ts'

/**
 * An exhaustive search, with the rules that the service runs by, for a token whose key some verifier can't have.
 *
 * Time goes in units. In each, every instance that runs looks after its keys once, in any order: with the database or
 * without, it may end at any step and start again, and what it has sent to the database may arrive a unit later, when
 * it is no more. Every instance that may sign does, all the time; verifiers fetch from every instance, all the time,
 * and keep each answer for as long as it says: so one state stands for all verifiers and clients that there can be.
 * Instants are relative to now, so that states which time alone separates are one.
 */

/** An instance: what differs from one to the next, and never changes. */
interface Kind {
  /** Of its clock, units. */
  skew: number
  algorithm: string
}

interface Rules {
  instances: readonly Kind[]
  timing: Timing
  /** When keys are made; other than `timing` to be wrong. */
  makerTiming: Timing
  tokenLife: number
  rotation: number
  /** A key may be inserted so long after its decision. */
  decisionHolds: number
  mayCrash: boolean
}

interface Key extends KeyTimes {
  generation: number
}

interface Instance {
  isUp: boolean
  /** Has looked after its keys in this unit. */
  hasTended: boolean
  readAt: number
  /** Generations. */
  known: readonly number[]
  active: number | undefined
}

interface World {
  /** All that somebody still knows, in the table or not. */
  keys: readonly Key[]
  table: readonly number[]
  /** The latest that was sent, if it has not arrived and still may: of what is lost, nobody knows. */
  inFlight: { key: Key; decidedAt: number } | undefined
  instances: readonly Instance[]
  /** Until when a token of each key lives. */
  tokens: ReadonlyMap<number, number>
  /** Cached by somebody: which keys, until when. */
  answers: readonly { generations: readonly number[]; until: number }[]
}

/** Never, or so long ago that it can't be told from never. */
const longAgo = ({ timing: { handoverMs, leadMs, trustMs }, rotation }: Rules): number =>
  -Math.max(handoverMs, trustMs, rotation - leadMs) - 2

function firstWorld(rules: Rules): World {
  const { instances, rotation, timing } = rules
  const key = made([], instances[0]?.algorithm ?? '', nextKeyTimes([], rotation, 0, timing))
  return {
    keys: [key],
    table: [1],
    inFlight: undefined,
    instances: instances.map(() => ({
      isUp: false,
      hasTended: true,
      readAt: longAgo(rules),
      known: [],
      active: undefined
    })),
    tokens: new Map(),
    answers: []
  }
}

function made(keys: readonly Key[], algorithm: string, times: { signsFrom: number; signsUntil: number }): Key {
  const generation = Math.max(0, ...keys.map(key => key.generation)) + 1
  return { kid: String(generation), generation, algorithm, isUsable: true, ...times }
}

const pick = (keys: readonly Key[], generations: readonly number[]) =>
  keys.filter(({ generation }) => generations.includes(generation))

/** All worlds that can come next, each with what happens. */
function* nextWorlds(rules: Rules, world: World): Generator<[string, World]> {
  // What touches nobody else may as well come first: another order leads to the same worlds.
  const isEarly = world.instances.every(({ readAt }) => readAt < 0)
  for (const [index, instance] of world.instances.entries()) {
    if (!instance.isUp) yield* starts(rules, world, index)
    else if (!instance.hasTended) yield* tendings(rules, world, index)
    if (!instance.isUp || instance.hasTended || !isEarly) continue
    yield [`${index} finds no database`, tended(rules, world, index)]
    const crashed = { ...instance, isUp: false, readAt: longAgo(rules), known: [], active: undefined }
    if (rules.mayCrash) yield [`${index} crashes`, withInstance(world, index, crashed)]
  }
  if (world.inFlight !== undefined) {
    const { key } = world.inFlight
    const arrived = { keys: [...world.keys, key], table: [...world.table, key.generation], inFlight: undefined }
    yield [`key ${key.generation} arrives`, { ...world, ...arrived }]
  }
  if (world.instances.every(({ isUp, hasTended }) => !isUp || hasTended)) {
    yield ['time passes', acted(rules, later(rules, world))]
  }
}

function* tendings(rules: Rules, world: World, index: number): Generator<[string, World]> {
  yield [`${index} reads`, tended(rules, read(world, index), index)]
  const { algorithm, skew } = kindOf(rules, index)
  const keys = pick(world.keys, world.table)
  if (!isNextKeyDue(keys, algorithm, rules.rotation, skew, rules.makerTiming)) return
  const key = made(keys, algorithm, nextKeyTimes(keys, rules.rotation, skew, rules.makerTiming))
  const sent = { ...world, inFlight: { key, decidedAt: 0 } }
  yield [`${index} reads and sends key ${key.generation}`, tended(rules, read(sent, index), index)]
}

function* starts(rules: Rules, world: World, index: number): Generator<[string, World]> {
  const started = withInstance(world, index, {
    ...instanceOf(world, index),
    isUp: true
  })
  yield [`${index} starts`, tended(rules, read(started, index), index)]
}

/** Reads the table, and destroys what is retired in it by its own clock and the database's. */
function read(world: World, index: number): World {
  return withInstance(world, index, { ...instanceOf(world, index), readAt: 0, known: world.table })
}

function tended(rules: Rules, world: World, index: number): World {
  const instance = { ...instanceOf(world, index), hasTended: true }
  const { algorithm, skew } = kindOf(rules, index)
  const known = { keys: pick(world.keys, instance.known), readAt: instance.readAt + skew }
  const active = signingKey(known, algorithm, skew, rules.timing)?.generation
  const settled = withInstance(world, index, { ...instance, active })
  if (instance.readAt < 0) return acted(rules, settled)
  const keys = pick(world.keys, world.table)
  const retired = keys.filter(key => isRetired(key, keys, Math.min(skew, 0), rules.timing))
  const table = world.table.filter(generation => retired.every(key => key.generation !== generation))
  return acted(rules, { ...settled, table })
}

/** Everybody who may sign has, and from everybody who answers somebody has fetched. */
function acted(rules: Rules, world: World): World {
  const tokens = new Map(world.tokens)
  let { answers } = world
  for (const [index, { isUp, active, known, readAt }] of world.instances.entries()) {
    if (!isUp) continue
    if (active !== undefined) tokens.set(active, rules.tokenLife)
    const { skew } = kindOf(rules, index)
    const knowledge = { keys: pick(world.keys, known), readAt: readAt + skew }
    const until = cacheMs(knowledge, skew, rules.timing)
    const generations = publishedKeys(knowledge, skew, rules.timing).map(({ generation }) => generation)
    if (until > 0) answers = withAnswer(answers, { generations, until })
  }
  return { ...world, tokens, answers }
}

/** Only answers that have a fault which no other has. */
function withAnswer(answers: World['answers'], answer: World['answers'][number]): World['answers'] {
  const covers = (a: typeof answer, b: typeof answer) =>
    a.until >= b.until && a.generations.every(generation => b.generations.includes(generation))
  if (answers.some(other => covers(other, answer))) return answers
  return [...answers.filter(other => !covers(answer, other)), answer]
}

function later(rules: Rules, world: World): World {
  const past = (instant: number) => Math.max(longAgo(rules), instant - 1)
  const shift = (key: Key) => ({ ...key, signsFrom: past(key.signsFrom), signsUntil: past(key.signsUntil) })
  const { inFlight } = world
  const mayArrive = inFlight !== undefined && inFlight.decidedAt > -rules.decisionHolds
  return {
    ...world,
    keys: world.keys.map(shift),
    inFlight: mayArrive ? { key: shift(inFlight.key), decidedAt: inFlight.decidedAt - 1 } : undefined,
    instances: world.instances.map(instance => ({ ...instance, hasTended: false, readAt: past(instance.readAt) })),
    tokens: new Map([...world.tokens].map(([generation, until]) => [generation, until - 1])),
    answers: world.answers.map(({ generations, until }) => ({ generations, until: until - 1 }))
  }
}

/** What nobody knows any more is left out, and generations count from one: the same world has one name. */
function canonical(rules: Rules, world: World): World {
  const tokens = [...world.tokens].filter(([, until]) => until > 0)
  const answers = world.answers.filter(({ until }) => until > 0)
  // What was read so long ago is used for nothing.
  const instances = world.instances.map(instance =>
    instance.readAt > longAgo(rules) ? instance : { ...instance, known: [], active: undefined }
  )
  const matter = [
    ...new Set([
      ...world.table,
      ...instances.flatMap(({ known }) => known),
      ...tokens.map(([generation]) => generation),
      ...(world.inFlight === undefined ? [] : [world.inFlight.key.generation])
    ])
  ].sort((a, b) => a - b)
  const name = (generation: number) => matter.indexOf(generation) + 1
  const names = (generations: readonly number[]) =>
    generations
      .map(name)
      .filter(generation => generation > 0)
      .sort((a, b) => a - b)
  const rename = (key: Key): Key => ({ ...key, generation: name(key.generation), kid: String(name(key.generation)) })
  return {
    keys: world.keys
      .filter(({ generation }) => matter.includes(generation))
      .map(rename)
      .sort((a, b) => a.generation - b.generation),
    table: names(world.table),
    inFlight: world.inFlight && { ...world.inFlight, key: rename(world.inFlight.key) },
    instances: instances.map(instance => ({
      ...instance,
      known: names(instance.known),
      active: instance.active === undefined ? undefined : name(instance.active)
    })),
    tokens: new Map(tokens.map(([generation, until]) => [name(generation), until] as const).sort(([a], [b]) => a - b)),
    answers: answers
      .map(({ generations, until }) => ({ generations: names(generations), until }))
      .sort((a, b) => a.until - b.until || String(a.generations).localeCompare(String(b.generations)))
  }
}

/** All of a world, short: most of the search is comparing names. */
function nameOf({ keys, table, inFlight, instances, tokens, answers }: World): string {
  const keyName = ({ generation, algorithm, signsFrom, signsUntil }: Key) =>
    `${generation}${algorithm}${signsFrom},${signsUntil}`
  return [
    keys.map(keyName).join(' '),
    table.join(),
    inFlight === undefined ? '' : `${keyName(inFlight.key)}@${inFlight.decidedAt}`,
    instances.map(it => `${+it.isUp}${+it.hasTended}${it.readAt}:${it.known.join()}:${it.active}`).join(' '),
    [...tokens].join(' '),
    answers.map(({ generations, until }) => `${generations.join()}:${until}`).join(' ')
  ].join('|')
}

/** A token is alive, and an answer that somebody still keeps lacks its key. */
function fault({ tokens, answers }: World): string | undefined {
  for (const [generation, life] of tokens) {
    const lacking = answers.find(({ generations, until }) => until > 0 && !generations.includes(generation))
    if (life > 0 && lacking !== undefined) return `no key ${generation} in [${lacking.generations}]`
  }
  return undefined
}

interface Found {
  worlds: number
  /** At once in the table. */
  mostKeys: number
  isComplete: boolean
  /** What leads to a fault, and which. */
  counterexample: string[] | undefined
}

/** Every world that can be reached, the nearest first, unless there are more than `limit`. */
function explore(rules: Rules, limit: number): Found {
  const first = canonical(rules, firstWorld(rules))
  const steps = new Map<string, [string, string] | undefined>([[nameOf(first), undefined]])
  let mostKeys = 0
  let frontier: [string, World][] = [[nameOf(first), first]]
  while (frontier.length > 0) {
    const next: typeof frontier = []
    for (const [name, world] of frontier) {
      for (const [step, raw] of nextWorlds(rules, world)) {
        const found = canonical(rules, raw)
        const foundName = nameOf(found)
        if (steps.has(foundName)) continue
        steps.set(foundName, [name, step])
        mostKeys = Math.max(mostKeys, found.table.length)
        const wrong = fault(found)
        if (wrong !== undefined) {
          return {
            worlds: steps.size,
            mostKeys,
            isComplete: false,
            counterexample: [...path(steps, foundName), wrong]
          }
        }
        if (steps.size > limit) return { worlds: steps.size, mostKeys, isComplete: false, counterexample: undefined }
        next.push([foundName, found])
      }
    }
    frontier = next
  }
  return { worlds: steps.size, mostKeys, isComplete: true, counterexample: undefined }
}

function path(steps: Map<string, [string, string] | undefined>, name: string): string[] {
  const taken: string[] = []
  for (let step = steps.get(name); step !== undefined; step = steps.get(step[0])) taken.unshift(step[1])
  return taken
}

function withInstance(world: World, index: number, instance: Instance): World {
  return { ...world, instances: world.instances.map((other, at) => (at === index ? instance : other)) }
}

function instanceOf({ instances }: World, index: number): Instance {
  const instance = instances[index]
  if (instance === undefined) throw new Error(`no instance ${index}`)
  return instance
}

function kindOf({ instances }: Rules, index: number): Kind {
  const kind = instances[index]
  if (kind === undefined) throw new Error(`no instance ${index}`)
  return kind
}

/** The same times as the service's, in fewer units. */
const LEAST = { cacheMs: 1, unawareMs: 0, awayMs: 0, tokenLifeMs: 1, spareMs: 0 }

/** Slack is needed for one unit from one look at the keys to the next, for skew, and for what is late to arrive. */
function rulesOf(given: Parameters<typeof timing>[0], rotation: number, more: Partial<Rules>): Rules {
  return {
    instances: [ES256, ES256],
    timing: timing(given),
    makerTiming: timing(given),
    tokenLife: given.tokenLifeMs,
    rotation,
    decisionHolds: 0,
    mayCrash: true,
    ...more
  }
}

const ES256 = { skew: 0, algorithm: 'ES256' }
const FAST = { skew: 1, algorithm: 'ES256' }
const RS256 = { skew: 0, algorithm: 'RS256' }

const SKEWED = rulesOf({ ...LEAST, slackMs: 2 }, 4, { instances: [ES256, FAST] })
const ALL = { cacheMs: 1, unawareMs: 1, awayMs: 1, tokenLifeMs: 1, slackMs: 3, spareMs: 1 }

for (const [name, rules] of Object.entries({
  'two instances whose clocks differ': SKEWED,
  'two instances, keys that arrive late': rulesOf({ ...LEAST, slackMs: 2 }, 4, { decisionHolds: 1 }),
  'two instances, all of that, no term of any rule nought': rulesOf(ALL, 7, {
    instances: [ES256, FAST],
    decisionHolds: 1
  }),
  'three instances': rulesOf({ ...LEAST, slackMs: 1 }, 3, { instances: [ES256, ES256, ES256], mayCrash: false })
})) {
  t.test(`no token is alive whose key a verifier can't have, in any world there can be: ${name}`, async t => {
    const { counterexample, isComplete, worlds, mostKeys } = explore(rules, 1_000_000)
    t.equal(counterexample, undefined)
    t.ok(isComplete, 'and these are all')
    t.ok(worlds > 10_000, `${worlds} worlds`)
    t.ok(mostKeys >= 3, 'also such with one key that ends, one that signs and one that is next')
  })
}

t.test("no token is alive whose key a verifier can't have, in the nearest 50,000 worlds: two algorithms", async t => {
  // 362,292 are all, and as good; they take half a minute.
  const rules = rulesOf({ ...LEAST, slackMs: 1 }, 3, { instances: [ES256, RS256], mayCrash: false })
  const { counterexample, worlds, mostKeys } = explore(rules, 50_000)
  t.equal(counterexample, undefined)
  t.ok(worlds > 50_000)
  t.ok(mostKeys >= 4, 'also such with a key that ends and one that signs of each')
})

const right = SKEWED.timing
for (const [name, wrong] of Object.entries({
  'a key that signs when it is made': { makerTiming: { ...right, leadMs: 0 } },
  'a key that is published a unit too late': { makerTiming: { ...right, leadMs: right.leadMs - 1 } },
  'a key that is retired a unit too early': { timing: { ...right, handoverMs: right.handoverMs - 1 } },
  'an instance that relies on what it read a unit too long': { timing: { ...right, trustMs: right.trustMs + 1 } },
  'an answer that is cached for as long whatever its instance knows': { timing: { ...right, slackMs: -100 } },
  'clocks that differ by more than was allowed for': { instances: [ES256, { ...FAST, skew: 2 }] },
  'a decision that may arrive late with no allowance for that': { decisionHolds: 1 }
})) {
  t.test(`the search finds what is wrong with ${name}`, async t => {
    const { counterexample = [] } = explore({ ...SKEWED, ...wrong }, 1_000_000)
    t.match(counterexample.at(-1), /^no key \d in \[/)
    t.ok(counterexample.length > 3, counterexample.join('; '))
  })
}

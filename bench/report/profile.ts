/** A CPU profile of V8, as far as it is read here. */
export interface CpuProfile {
  nodes: readonly {
    id: number
    callFrame: { functionName: string; url: string; lineNumber: number }
  }[]
  /** Node of each sample. */
  samples: readonly number[]
  /** Time of each sample since the one before, microseconds. */
  timeDeltas: readonly number[]
}

/** Time that was spent in a function itself, without the functions that it calls. */
export interface SelfTime {
  name: string
  us: number
}

/** Frames in which the process waits. */
const IDLE = new Set(['(idle)', '(root)'])

/** Returns the self time of each function while the process was busy, the longest first. */
export function selfTimes(profile: CpuProfile, nameOf = functionOf): SelfTime[] {
  const names = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]))
  const times = new Map<string, number>()
  profile.samples.forEach((id, index) => {
    const frame = names.get(id)
    if (frame === undefined || IDLE.has(frame.functionName)) return
    const name = nameOf(frame)
    times.set(name, (times.get(name) ?? 0) + (profile.timeDeltas[index] ?? 0))
  })
  return [...times].map(([name, us]) => ({ name, us })).sort((a, b) => b.us - a.us)
}

type Frame = CpuProfile['nodes'][number]['callFrame']

function functionOf({ functionName, url, lineNumber }: Frame): string {
  if (url === '') return nativeName(functionName)
  return `${functionName === '' ? '(anonymous)' : functionName} ${shortUrl(url)}:${lineNumber + 1}`
}

/** Returns the room of grantd, the package or the module of Node that a frame belongs to. */
export function originOf({ functionName, url }: Frame): string {
  const [, dependency] = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url) ?? []
  if (dependency !== undefined) return dependency
  const [, room] = /\/(src\/[^/]+(?:\/token)?)\//.exec(url) ?? []
  if (room !== undefined) return room
  return url === '' ? nativeName(functionName) : shortUrl(url)
}

/** V8 puts its own states, such as `(program)`, in parentheses. */
function nativeName(name: string): string {
  if (name === '') return '(anonymous) (native)'
  return name.startsWith('(') ? name : `${name} (native)`
}

function shortUrl(url: string): string {
  const start = Math.max(url.lastIndexOf('/node_modules/'), url.lastIndexOf('/src/'))
  return start < 0 ? url : url.slice(start + 1)
}

import createClient from '/openapi-fetch.js'

/** A grid of the App registrations of one Site. Values come from administrators, so they are shown as text only. */

const REGISTRATIONS = '/v1/sites/{siteId}/app-registrations'
const ONE = `${REGISTRATIONS}/{clientId}`
const DAY_MS = 86_400_000

const find = selector => document.querySelector(selector)
const view = { sort: 'expiresAt', order: 'asc', search: '', cursor: undefined }
let grantd
let siteId
/** Registration of the details, and the ETag of the version that they show. */
let opened

/** Returns the body and the ETag of an answer. @throws Error with what grantd says about a refusal (RFC 9457) */
async function read(request) {
  show('#problem')
  const { data, error, response } = await request
  if (error === undefined) return { data, etag: response.headers.get('etag') }
  const faults = (error.errors ?? []).map(({ pointer, parameter, detail }) => `${pointer ?? parameter} ${detail}.`)
  throw new Error([error.detail, ...faults].join(' '))
}

/** A refusal ends what was begun, and is shown. */
addEventListener('unhandledrejection', event => {
  event.preventDefault()
  show('#problem', event.reason.message)
})

function show(selector, text) {
  find(selector).hidden = !text
  find(selector).textContent = text ?? ''
}

async function refresh() {
  view.cursor = undefined
  find('tbody').replaceChildren()
  find('#details').hidden = true
  await Promise.all([addPage(), refreshBanner()])
}

async function addPage() {
  const { search, ...query } = view
  // An empty search is none.
  const params = { path: { siteId }, query: { ...query, limit: 25, ...(search && { search }) } }
  const { data } = await read(grantd.GET(REGISTRATIONS, { params }))
  find('tbody').append(...data.items.map(rowOf))
  view.cursor = data.nextCursor ?? undefined
  find('#more').hidden = view.cursor === undefined
}

function rowOf(registration) {
  const { name, clientId, registeredAt, expiresAt, lastUsedAt } = registration
  const open = document.createElement('button')
  open.textContent = name
  open.addEventListener('click', () => showDetails(clientId))
  const row = document.createElement('tr')
  const cells = [open, clientId, dateOf(registeredAt), dateOf(expiresAt), dateOf(lastUsedAt), stateOf(registration)]
  for (const content of cells) row.insertCell().append(content)
  return row
}

const dateOf = instant => (instant === null ? 'never' : instant.slice(0, 10))

function stateOf({ enabled, state, expiresInDays }) {
  const label = document.createElement('span')
  label.className = enabled ? state.split('_')[0] : 'disabled'
  label.textContent = !enabled ? 'disabled' : state.startsWith('expiring') ? `expires in ${expiresInDays} days` : state
  return label
}

/** An expired registration has an alert until it is renewed or deleted. */
async function refreshBanner() {
  const { data } = await read(grantd.GET('/v1/sites/{siteId}/alerts', { params: { path: { siteId } } }))
  const names = data.items.map(alert => alert.name).join(', ')
  show('#banner', names && `Expired, and refused at the token endpoint: ${names}${data.nextCursor ? ' and more' : ''}.`)
}

async function showDetails(clientId) {
  const params = { path: { siteId, clientId } }
  const [{ data: registration, etag }, { data: diagnosis }] = await Promise.all([
    read(grantd.GET(ONE, { params })),
    read(grantd.GET(`${ONE}/diagnosis`, { params }))
  ])
  opened = { clientId, etag }
  find('#details h2').textContent = registration.name
  const lines = [
    diagnosis.wouldSucceed ? 'The right credential gets a token.' : 'The right credential is refused.',
    ...diagnosis.reasons.map(reason => reason.detail),
    refusalLine('with its credential', diagnosis.refusals.withCredential),
    refusalLine('without it', diagnosis.refusals.withoutCredential)
  ]
  find('#details ul').replaceChildren(
    ...lines.map(line => Object.assign(document.createElement('li'), { textContent: line }))
  )
  find('#renewal').date.value = new Date(Date.now() + 365 * DAY_MS).toISOString().slice(0, 10)
  find('#details').hidden = false
}

function refusalLine(kind, refusal) {
  if (refusal === null) return `No caller was refused ${kind} in the last 30 days.`
  const { at, count, reason, source } = refusal
  return `Last refused ${kind}: ${at}, ${reason}, from ${source}. Refusals in all: ${count}.`
}

find('#sign-in').addEventListener('submit', async event => {
  event.preventDefault()
  const { baseUrl, siteId: site, token } = Object.fromEntries(new FormData(event.target))
  siteId = site
  // The token stays in this page's memory.
  grantd = createClient({ baseUrl, headers: { Authorization: `Bearer ${token}` } })
  await refresh()
})
find('#search').addEventListener('change', async event => {
  view.search = event.target.value
  await refresh()
})
for (const header of document.querySelectorAll('[data-sort]')) {
  header.addEventListener('click', async () => {
    const { sort } = header.dataset
    view.order = view.sort === sort && view.order === 'asc' ? 'desc' : 'asc'
    view.sort = sort
    await refresh()
  })
}
find('#more').addEventListener('click', addPage)
find('#renewal').addEventListener('submit', async event => {
  event.preventDefault()
  // With If-Match, grantd refuses the renewal when another administrator has changed the registration meanwhile.
  const params = { path: { siteId, clientId: opened.clientId }, header: { 'if-match': opened.etag } }
  await read(grantd.PATCH(ONE, { params, body: { expiresAt: `${event.target.date.value}T00:00:00Z` } }))
  await refresh()
})

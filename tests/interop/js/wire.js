// The messages of docs/protocol.md: strict decoding into plain values, and encoding.
//
// A decoded message has the fields of the golden vectors in tests/vectors (`value` there), with
// BigInt for integers; `readable` turns it into JSON.

import { createHash } from 'node:crypto'
import { base58btc } from 'multiformats/bases/base58'
import { Refused, Tagged, decode, encode, fromHalf, toHalf } from './cbor.js'

export const MAX = {
  gossip: 655360,
  delta: 524288,
  envelope: 525312,
  card: 65536,
  peersRequest: 128,
  peersAnswer: 32768,
  invitation: 512,
  labelsRequest: 8192,
  labelsAnswer: 131072,
  request: 524288,
  answer: 2097152
}
const MAX_UINT = 2n ** 63n - 1n
const MAX_AGE = 4294967295n
const MAX_ROWS = 131072
const [UINT8, UINT16, UINT32, SINT8, FLOAT16, FLOAT32] = [64, 69, 70, 72, 84, 85]
const VALUE_TAG = { int4: UINT8, int8: SINT8, float16: FLOAT16, float32: FLOAT32 }
const ENCODING = Object.fromEntries(Object.entries(VALUE_TAG).map(([name, tag]) => [tag, name]))
// Encodings whose codes need a scale, with the code that has no mirror image.
const UNPAIRED = { int4: -8, int8: -128 }
export const isScaled = encoding => Object.hasOwn(UNPAIRED, encoding)

export const sha256 = (...parts) => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return Uint8Array.from(hash.digest())
}
export const hex = bytes => Buffer.from(bytes).toString('hex')
export const unhex = text => Uint8Array.from(Buffer.from(text, 'hex'))

// Not an error of whoever sent it.
export class OtherVersion extends Refused {}

// --- fields ---------------------------------------------------------------------------------------

function need (condition, what) {
  if (!condition) throw new Refused(what)
}

function record (value, fields, optional = {}) {
  need(value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === null, 'not a map')
  const known = { ...fields, ...optional }
  for (const name of Object.keys(value)) need(Object.hasOwn(known, name), `unknown field ${name}`)
  const result = {}
  for (const [name, read] of Object.entries(known)) {
    if (!(name in value)) {
      need(Object.hasOwn(optional, name), `no field ${name}`)
      continue
    }
    try {
      result[name] = read(value[name])
    } catch (error) {
      if (error instanceof Refused) error.message = `${name}: ${error.message}`
      throw error
    }
  }
  return result
}

const uint = (least = 0n, most = MAX_UINT) => value => {
  need(typeof value === 'bigint' && value >= least && value <= most, 'not an integer in range')
  return value
}
const bytes = (least, most = least) => value => {
  need(value instanceof Uint8Array && value.length >= least && value.length <= most, 'not bytes of that size')
  return value
}
const float = (least = -Infinity, most = Infinity) => value => {
  need(typeof value === 'number' && value >= least && value <= most, 'not a float in range')
  return value
}
const string = (least, most) => value => {
  need(typeof value === 'string' && [...value].length >= least && [...value].length <= most, 'not text of that length')
  need(!/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u.test(value), 'characters that cannot be printed')
  return value
}
const word = most => value => {
  need(/^[a-z][a-z0-9_-]*$/.test(string(1, most)(value)), 'not a lower-case word')
  return value
}
const oneOf = (...words) => value => {
  need(words.includes(value), 'not one of those allowed')
  return value
}
const nullable = read => value => value === null ? null : read(value)
const list = (least, most, read) => value => {
  need(Array.isArray(value) && value.length >= least && value.length <= most, 'not a list of that length')
  return value.map(read)
}
const tuple = (...reads) => value => {
  need(Array.isArray(value) && value.length === reads.length, 'not a list of that length')
  return reads.map((read, n) => read(value[n]))
}
const typedArray = (...tags) => value => {
  need(value instanceof Tagged && tags.includes(value.tag), 'not a typed array of that type')
  return value
}
const positive = uint(1n)
const group = value => hex(bytes(16)(value))
const peer = value => {
  const data = bytes(38)(value)
  need(hex(data.subarray(0, 6)) === '002408011220', 'not the peer id of an Ed25519 key')
  return base58btc.baseEncode(data)
}
export const peerBytes = text => base58btc.baseDecode(text)
// The text of a peer id: in its one form, since another spelling would hash to another group.
const peerText = value => {
  let data
  try {
    data = peerBytes(string(1, 64)(value))
  } catch (error) {
    throw error instanceof Refused ? error : new Refused('not a peer id')
  }
  need(peer(data) === value, 'a peer id in another spelling')
  return value
}
const envelope = bytes(1, MAX.envelope)
const invitation = bytes(1, MAX.invitation)
const NOTHING = new Uint8Array()
const age = uint(0n, MAX_AGE)
const fit = value => {
  const read = record(value, { metric: string(1, 32), value: float(), error: float(0), count: uint() })
  return { metric: read.metric, value: read.value, standard_error: read.error, count: read.count }
}

// --- typed arrays and row keys --------------------------------------------------------------------

const SIZE = { [UINT8]: 1, [SINT8]: 1, [UINT16]: 2, [FLOAT16]: 2, [UINT32]: 4, [FLOAT32]: 4 }

function numbers ({ tag, data }) {
  const size = SIZE[tag]
  need(data.length % size === 0, 'ends inside an element')
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  return Array.from({ length: data.length / size }, (_, n) => {
    switch (tag) {
      case UINT8: return view.getUint8(n)
      case SINT8: return view.getInt8(n)
      case UINT16: return view.getUint16(2 * n, true)
      case FLOAT16: return fromHalf(view.getUint16(2 * n, true))
      case UINT32: return view.getUint32(4 * n, true)
      default: return view.getFloat32(4 * n, true)
    }
  })
}

function array (tag, values) {
  const size = SIZE[tag]
  const data = Buffer.alloc(size * values.length)
  values.forEach((value, n) => {
    if (tag === FLOAT16) data.writeUInt16LE(toHalf(value), 2 * n)
    else if (tag === FLOAT32) data.writeFloatLE(value, 4 * n)
    else if (tag === SINT8) data.writeInt8(value, n)
    else data.writeUIntLE(value, size * n, size)
  })
  return new Tagged(tag, Uint8Array.from(data))
}

// int4: two codes a byte, the first in the low half.
function unpack (data, count) {
  need(data.length === Math.ceil(count / 2), 'not two codes of four bits a byte')
  const halves = Array.from(data).flatMap(byte => [byte & 15, byte >> 4])
  need(halves.slice(count).every(half => half === 0), 'an unused half byte that is not zero')
  return halves.slice(0, count).map(half => (half << 28) >> 28)
}

function pack (codes) {
  return Array.from({ length: Math.ceil(codes.length / 2) }, (_, n) =>
    (codes[2 * n] & 15) | (((codes[2 * n + 1] ?? 0) & 15) << 4))
}

export function decodeKeys (data, maxRows = MAX_ROWS) {
  const keys = []
  let previous = -1n
  for (let at = 0; at < data.length;) {
    let gap = 0n
    let shift = 0n
    for (;;) {
      need(at < data.length, 'row keys end inside a number')
      const byte = data[at++]
      gap |= BigInt(byte & 0x7f) << shift
      need(gap < 2n ** 64n, 'a row key beyond 64 bits')
      if (byte < 0x80) {
        need(byte !== 0 || shift === 0n, 'a row key that is not in its shortest form')
        break
      }
      shift += 7n
      need(shift < 70n, 'a row key beyond 64 bits')
    }
    previous += gap + 1n
    need(previous < 2n ** 64n, 'row keys beyond 64 bits')
    keys.push(previous)
    need(keys.length <= maxRows, 'too many rows')
  }
  return keys
}

export function encodeKeys (keys) {
  const data = []
  let previous = -1n
  for (const key of keys) {
    let gap = key - previous - 1n
    for (; gap > 0x7fn; gap >>= 7n) data.push(Number(gap & 0x7fn) | 0x80)
    data.push(Number(gap))
    previous = key
  }
  return Uint8Array.from(data)
}

// --- signed bodies --------------------------------------------------------------------------------

function block (value) {
  const read = record(value, {
    table: string(1, 64),
    keys: bytes(0, MAX.delta),
    values: typedArray(UINT8, SINT8, FLOAT16, FLOAT32),
    evidence: typedArray(UINT8, UINT16, UINT32),
    curvature: typedArray(FLOAT32)
  }, { scales: typedArray(FLOAT16) })
  const curvature = numbers(read.curvature)
  need(curvature.every(Number.isFinite), 'a curvature that is not finite')
  return rows(read, decodeKeys(read.keys), curvature)
}

// Of a summary: a block without a curvature, and without four bits.
function meanBlock (value) {
  const read = record(value, {
    table: string(1, 64),
    keys: bytes(0, MAX.answer),
    values: typedArray(SINT8, FLOAT16, FLOAT32),
    evidence: typedArray(UINT8, UINT16, UINT32)
  }, { scales: typedArray(FLOAT16) })
  const keys = decodeKeys(read.keys)
  need(keys.length > 0, 'a block without rows')
  const width = Math.floor(read.values.data.length / SIZE[read.values.tag] / keys.length)
  return rows(read, keys, new Array(width).fill(0))
}

function rows (read, keys, curvature) {
  const width = curvature.length
  need(width >= 1 && width <= 4096, 'no columns, or too many')
  const encoding = ENCODING[read.values.tag]
  const count = keys.length * width
  const flat = encoding === 'int4' ? unpack(read.values.data, count) : numbers(read.values)
  need(flat.length === count, 'not rows times columns values')
  need(isScaled(encoding) === (read.scales !== undefined), 'scales belong to int4 and int8 values, and only to them')
  const scales = read.scales === undefined ? [] : numbers(read.scales)
  if (isScaled(encoding)) {
    need(scales.length === keys.length, 'not one scale a row')
    need(scales.every(s => Number.isFinite(s) && s >= 0), 'a scale that is negative or not finite')
    need(flat.every(code => code !== UNPAIRED[encoding]), `a code of ${UNPAIRED[encoding]}`)
  } else need(flat.every(Number.isFinite), 'a value that is not finite')
  let evidence = numbers(read.evidence)
  if (evidence.length === 1 && keys.length > 1) evidence = keys.map(() => evidence[0])
  need(evidence.length === keys.length, 'not one count a row')
  const codes = keys.map((_, n) => flat.slice(n * width, (n + 1) * width))
  return { table: read.table, encoding, keys, codes, scales, evidence, curvature }
}

export function decodeDelta (body) {
  const read = record(decode(body, MAX.delta, { tags: true }), {
    group, epoch: positive, seqno: positive, round: uint(), examples: uint(), fit: nullable(fit), blocks: list(0, 32, block)
  })
  need(read.blocks.reduce((sum, b) => sum + b.keys.length, 0) <= MAX_ROWS, 'too many rows')
  const { group: groupId, ...rest } = read
  return { group_id: groupId, ...rest, digest: sha256(body) }
}

const fitToWire = fit => fit === null
  ? null
  : { metric: fit.metric, value: fit.value, error: fit.standard_error, count: fit.count }

export function encodeDelta (delta) {
  return encode({
    group: unhex(delta.group_id),
    epoch: delta.epoch,
    seqno: delta.seqno,
    round: delta.round,
    examples: delta.examples,
    fit: fitToWire(delta.fit),
    blocks: delta.blocks.map(b => ({ ...encodeRows(b), curvature: array(FLOAT32, b.curvature) }))
  })
}

function encodeRows (b) {
  const most = Math.max(0, ...b.evidence)
  const same = b.evidence.length > 1 && b.evidence.every(n => n === b.evidence[0])
  return {
    table: b.table,
    keys: encodeKeys(b.keys),
    values: array(VALUE_TAG[b.encoding], b.encoding === 'int4' ? pack(b.codes.flat()) : b.codes.flat()),
    evidence: array(most < 256 ? UINT8 : most < 65536 ? UINT16 : UINT32, same ? [b.evidence[0]] : b.evidence),
    ...(isScaled(b.encoding) ? { scales: array(FLOAT16, b.scales) } : {})
  }
}

export const valueOf = (block, row, column) =>
  isScaled(block.encoding) ? block.codes[row][column] * block.scales[row] : block.codes[row][column]

export function decodeLeave (body) {
  const read = record(decode(body, 256), { group, epoch: positive })
  return { group_id: read.group, epoch: read.epoch }
}

const encodeLeave = leave => encode({ group: unhex(leave.group_id), epoch: leave.epoch })

export function decodeInvitation (body) {
  const read = record(decode(body, MAX.invitation), { group, guest: peer, issued_at: uint(), expires_at: uint() })
  const { group: groupId, ...rest } = read
  return { group_id: groupId, ...rest }
}

export const encodeInvitation = ({ group_id: groupId, guest, ...rest }) =>
  encode({ group: unhex(groupId), guest: peerBytes(guest), ...rest })

const columns = most => list(1, 4096, float(0, most))

function table (value) {
  const read = record(value, {
    name: word(64),
    width: uint(1n, 4096n),
    key_bits: uint(1n, 64n),
    value_limit: float(1e-6, 2 ** 20),
    encoding: oneOf('int4', 'int8', 'float16', 'float32'),
    prior: columns(1e9),
    initial_scale: columns(1e9),
    prior_per_evidence: columns(1e9)
  })
  for (const list of [read.prior, read.initial_scale, read.prior_per_evidence]) {
    need(list.length === Number(read.width), 'not one value a column')
  }
  need(read.initial_scale.every(scale => scale <= read.value_limit), 'an initial scale beyond the limit')
  return read
}

function hyperparameters (value) {
  const names = Object.keys(value)
  need(names.length <= 64, 'too many hyperparameters')
  const simple = item => {
    if (typeof item === 'string') return string(0, 256)(item)
    if (typeof item === 'bigint') return uint(-MAX_UINT)(item)
    need(typeof item === 'boolean' || typeof item === 'number', 'not a simple value')
    return item
  }
  return record(value, Object.fromEntries(names.map(name => [string(1, 64)(name), simple])))
}

export function readCharter (value) {
  if (value?.version !== 1n) throw new OtherVersion('a charter of another version')
  const read = record(value, {
    version: uint(1n, 1n),
    name: string(1, 64),
    task: word(32),
    seed: uint(),
    parent: nullable(text => {
      need(/^[0-9a-f]{32}$/.test(text), 'not a group id')
      return text
    }),
    hyperparameters,
    tables: list(1, 32, table)
  }, { founder: peerText })
  need(new Set(read.tables.map(t => t.name)).size === read.tables.length, 'two tables of one name')
  need(read.tables.reduce((sum, t) => sum + t.width, 0n) <= 8192n, 'too many columns')
  return read
}

export const groupIdOf = charter => hex(sha256(encode(charter))).slice(0, 32)

export function decodeCard (body, issuer) {
  const read = record(decode(body, MAX.card), {
    charter: readCharter,
    members: uint(),
    rows: uint(),
    issued_at: float(0),
    fit_metric: nullable(string(0, 32)),
    fit_best: nullable(float()),
    fit_median: nullable(float())
  })
  return { ...read, charter: { group_id: groupIdOf(read.charter), ...read.charter }, issuer }
}

function encodeCard ({ issuer, charter: { group_id: _, ...charter }, ...rest }) {
  return encode({ ...rest, charter })
}

// --- gossip ---------------------------------------------------------------------------------------

export function decodeGossip (payload) {
  const value = decode(payload, MAX.gossip)
  const t = kind => oneOf(kind)
  switch (value?.t) {
    case 'delta': return record(value, { t: t('delta'), envelope })
    case 'leave': return record(value, { t: t('leave'), envelope })
    case 'announce':
      return record(value, {
        t: t('announce'), digest: bytes(32), size: uint(1n, BigInt(MAX.envelope)), epoch: positive, seqno: positive
      })
    case 'heartbeat': return heartbeat(value)
    default: throw new Refused('an unknown kind of message')
  }
}

function heartbeat (value) {
  const read = record(value, {
    t: oneOf('heartbeat'),
    epoch: uint(),
    seqno: uint(),
    round: uint(),
    examples: uint(),
    fit: nullable(fit),
    members: uint(),
    versions: list(0, 512, tuple(peer, positive, uint(), age)),
    replica: bytes(16)
  }, { opinions: bytes(1, 512), invitation })
  const { t: _, opinions = NOTHING, ...rest } = { invitation: NOTHING, ...read }
  if (read.opinions !== undefined) {
    need(opinions.length === rest.versions.length, 'not an opinion on each of its versions')
    need(opinions.some(octet => octet !== 0x80), 'opinions that are none')
  }
  const versions = rest.versions.map(([author, epoch, seqno, age], n) => {
    const steps = n < opinions.length ? (opinions[n] << 24) >> 24 : -128
    return { author, epoch, seqno, age_seconds: age, opinion: steps === -128 ? null : steps / 8 }
  })
  return { ...rest, versions }
}

export function encodeGossip (message) {
  if (message.t !== undefined) return encode(message)
  const { versions, fit, invitation = NOTHING, ...rest } = message
  const plain = {
    t: 'heartbeat',
    ...rest,
    fit: fitToWire(fit),
    versions: versions.map(v => [peerBytes(v.author), v.epoch, v.seqno, v.age_seconds])
  }
  if (versions.some(v => v.opinion !== null)) {
    plain.opinions = Uint8Array.from(versions, v => (v.opinion === null ? -128 : v.opinion * 8) & 0xff)
  }
  if (invitation.length > 0) plain.invitation = invitation
  return encode(plain)
}

export const decodeDirectory = payload =>
  record(decode(payload, MAX.card + 64), { t: oneOf('card'), envelope: bytes(1, MAX.card) }).envelope

// --- streams --------------------------------------------------------------------------------------

const cursor = tuple(peer, uint(), uint())
const readCursor = value => value === null ? null : { author: value[0], epoch: value[1], seqno: value[2] }
const writeCursor = c => c === null ? null : [peerBytes(c.author), c.epoch, c.seqno]

function decodeRequest (known, most, payload) {
  const read = record(decode(payload, MAX.request), {
    group, known: list(0, most, tuple(peer, positive, uint())), cursor: nullable(cursor), max_bytes: positive
  }, { invitation })
  const authors = Object.create(null)
  for (const [author, epoch, seqno] of read.known) {
    need(!(author in authors), 'an author that is repeated')
    authors[author] = { epoch, seqno }
  }
  return {
    group_id: read.group,
    [known]: { ...authors },
    max_bytes: read.max_bytes,
    cursor: readCursor(read.cursor),
    invitation: read.invitation ?? NOTHING
  }
}

function encodeRequest (known, request) {
  return encode({
    group: unhex(request.group_id),
    known: Object.entries(request[known]).map(([author, v]) => [peerBytes(author), v.epoch, v.seqno]),
    cursor: writeCursor(request.cursor),
    max_bytes: request.max_bytes,
    ...(request.invitation?.length > 0 ? { invitation: request.invitation } : {})
  })
}

function refusal (value) {
  return record(value, { t: oneOf('refused'), code: string(1, 32), text: string(0, 200) })
}

function decodeItems (payload) {
  const value = decode(payload, MAX.answer)
  if (value?.t === 'refused') return refusal(value)
  const read = record(value, {
    t: oneOf('items'),
    items: list(0, 16384, tuple(oneOf('delta', 'leave'), envelope, age)),
    complete: list(0, 16384, tuple(peer, positive, uint(), positive, age)),
    cursor: nullable(cursor),
    replica: bytes(16)
  }, { invitations: list(1, 16384, invitation) })
  return {
    items: read.items.map(([kind, envelope, age]) => ({ kind, envelope, age_seconds: age })),
    complete: read.complete.map(([author, epoch, after, upto, age]) => ({ author, epoch, after, upto, age_seconds: age })),
    cursor: readCursor(read.cursor),
    replica: read.replica,
    invitations: read.invitations ?? []
  }
}

function encodeItems (answer) {
  if (answer.t !== undefined) return encode(answer)
  return encode({
    t: 'items',
    items: answer.items.map(i => [i.kind, i.envelope, i.age_seconds]),
    complete: answer.complete.map(c => [peerBytes(c.author), c.epoch, c.after, c.upto, c.age_seconds]),
    cursor: writeCursor(answer.cursor),
    replica: answer.replica,
    ...(answer.invitations?.length > 0 ? { invitations: answer.invitations } : {})
  })
}

const readRowCursor = value => value === null
  ? null
  : { table: value[0], key: value[1].reduce((key, octet) => key << 8n | BigInt(octet), 0n) }
const writeRowCursor = c => c === null
  ? null
  : [c.table, Uint8Array.from({ length: 8 }, (_, n) => Number(c.key >> BigInt(8 * (7 - n)) & 0xffn))]
const rowCursor = tuple(string(1, 64), bytes(8))

function decodeSummaryRequest (payload) {
  const read = record(decode(payload, MAX.request), {
    group, cursor: nullable(rowCursor), max_bytes: positive
  }, { have: bytes(16), invitation })
  return {
    group_id: read.group,
    max_bytes: read.max_bytes,
    cursor: readRowCursor(read.cursor),
    have: read.have ?? NOTHING,
    invitation: read.invitation ?? NOTHING
  }
}

function encodeSummaryRequest (request) {
  return encode({
    group: unhex(request.group_id),
    cursor: writeRowCursor(request.cursor),
    max_bytes: request.max_bytes,
    ...(request.have.length > 0 ? { have: request.have } : {}),
    ...(request.invitation.length > 0 ? { invitation: request.invitation } : {})
  })
}

function decodeSummary (payload) {
  const value = decode(payload, MAX.answer, { tags: true })
  if (value?.t === 'refused') return refusal(value)
  const read = record(value, {
    t: oneOf('summary'), members: uint(), blocks: list(0, 32, meanBlock), cursor: nullable(rowCursor), replica: bytes(16)
  })
  need(read.blocks.reduce((sum, b) => sum + b.keys.length, 0) <= MAX_ROWS, 'too many rows')
  return { members: read.members, blocks: read.blocks, cursor: readRowCursor(read.cursor), replica: read.replica }
}

function encodeSummary (answer) {
  if (answer.t !== undefined) return encode(answer)
  return encode({
    t: 'summary',
    members: answer.members,
    blocks: answer.blocks.map(encodeRows),
    cursor: writeRowCursor(answer.cursor),
    replica: answer.replica
  })
}

function decodeCards (payload) {
  const value = decode(payload, MAX.answer)
  if (value?.t === 'refused') return refusal(value)
  return record(value, { t: oneOf('cards'), cards: list(0, 256, tuple(bytes(0, MAX.card), age)) })
}

function decodeLabelsRequest (payload) {
  const read = record(decode(payload, MAX.labelsRequest), { group, keys: bytes(1, 5120) }, { invitation })
  return { group_id: read.group, keys: decodeKeys(read.keys, 512), invitation: read.invitation ?? NOTHING }
}

function encodeLabelsRequest (request) {
  return encode({
    group: unhex(request.group_id),
    keys: encodeKeys(request.keys),
    ...(request.invitation.length > 0 ? { invitation: request.invitation } : {})
  })
}

const readKey = octets => octets.reduce((key, octet) => key << 8n | BigInt(octet), 0n)
const writeKey = key => Uint8Array.from({ length: 8 }, (_, n) => Number(key >> BigInt(8 * (7 - n)) & 0xffn))

function decodeLabels (payload) {
  const value = decode(payload, MAX.labelsAnswer)
  if (value?.t === 'refused') return refusal(value)
  const read = record(value, {
    t: oneOf('labels'), labels: list(0, 512, tuple(bytes(8), string(0, 300), string(0, 300)))
  })
  const labels = read.labels.map(([key, title, by]) => [readKey(key), { title, by }])
  need(labels.every(([key], n) => n === 0 || labels[n - 1][0] < key), 'keys do not ascend')
  return { labels }
}

function encodeLabels (answer) {
  if (answer.t !== undefined) return encode(answer)
  return encode({
    t: 'labels', labels: answer.labels.map(([key, label]) => [writeKey(key), label.title, label.by])
  })
}

// [1, group or null]: who is connected to you?
function decodePeersRequest (payload) {
  const hex32 = string(32, 32)
  return tuple(uint(1n, 1n), nullable(text => {
    need(/^[0-9a-f]+$/.test(hex32(text)), 'not a group id')
    return text
  }))(decode(payload, MAX.peersRequest))[1]
}

const address = value => {
  need(/^\/[ -~]{0,159}$/.test(string(1, 160)(value)), 'not an address')
  return value
}

function decodePeersAnswer (payload) {
  const peers = list(0, 32, tuple(peerText, list(0, 8, address)))
  return tuple(uint(1n, 1n), peers)(decode(payload, MAX.peersAnswer))[1]
}

export const DECODE = {
  cbor: payload => decode(payload, MAX.answer, { tags: true }),
  keys: payload => decodeKeys(payload, 1000),
  delta: decodeDelta,
  leave: decodeLeave,
  invitation: decodeInvitation,
  card: decodeCard,
  gossip: decodeGossip,
  directory: decodeDirectory,
  'snapshot-request': payload => decodeRequest('known', 8192, payload),
  'pull-request': payload => decodeRequest('wants', 512, payload),
  'groups-request': payload => {
    record(decode(payload, MAX.request), {})
    return null
  },
  'items-answer': decodeItems,
  'summary-request': decodeSummaryRequest,
  'summary-answer': decodeSummary,
  'cards-answer': decodeCards,
  'labels-request': decodeLabelsRequest,
  'labels-answer': decodeLabels,
  'peers-request': decodePeersRequest,
  'peers-answer': decodePeersAnswer
}

export const ENCODE = {
  cbor: encode,
  keys: encodeKeys,
  delta: encodeDelta,
  leave: encodeLeave,
  invitation: encodeInvitation,
  card: encodeCard,
  gossip: encodeGossip,
  directory: envelope => encode({ t: 'card', envelope }),
  'snapshot-request': request => encodeRequest('known', request),
  'pull-request': request => encodeRequest('wants', request),
  'groups-request': () => encode({}),
  'items-answer': encodeItems,
  'summary-request': encodeSummaryRequest,
  'summary-answer': encodeSummary,
  'cards-answer': encode,
  'labels-request': encodeLabelsRequest,
  'labels-answer': encodeLabels,
  'peers-request': groupId => encode([1n, groupId]),
  'peers-answer': peers => encode([1n, peers])
}

// A decoded message as JSON values: bytes as hex, integers beyond 2^53 as decimal text.
export function readable (value) {
  if (value instanceof Uint8Array) return hex(value)
  if (value instanceof Tagged) return { tag: value.tag, data: hex(value.data) }
  if (typeof value === 'bigint') return value > 2n ** 53n || value < -(2n ** 53n) ? String(value) : Number(value)
  if (Array.isArray(value)) return value.map(readable)
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, readable(item)]))
  }
  return value
}

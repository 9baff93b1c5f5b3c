// Strict CBOR of docs/protocol.md ("Encoding"), written from that text alone.
//
// Integers are BigInt, floats are Number, byte strings Uint8Array, maps plain objects without a
// prototype, typed arrays Tagged: so nothing of a message is lost between bytes and value.

const MAX_DEPTH = 8
const MAX_ITEMS = 65536
const MAX_INT = 2n ** 63n - 1n
const TAGS = new Set([64, 69, 70, 72, 84, 85])

export class Refused extends Error {
  name = 'Refused'
}

export class Tagged {
  constructor (tag, data) {
    this.tag = tag
    this.data = data
  }
}

export function decode (bytes, maxBytes, { tags = false } = {}) {
  if (bytes.length > maxBytes) throw new Refused(`${bytes.length} bytes where ${maxBytes} are allowed`)
  const reader = new Reader(bytes, tags)
  const value = reader.item(0)
  if (reader.at !== bytes.length) throw new Refused('bytes after the message')
  return value
}

class Reader {
  constructor (bytes, tags) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.at = 0
    this.left = MAX_ITEMS
    this.tags = tags
  }

  take (count) {
    if (count > this.bytes.length - this.at) throw new Refused('cut short')
    const taken = this.bytes.subarray(this.at, this.at + count)
    this.at += count
    return taken
  }

  argument (info) {
    if (info < 24) return BigInt(info)
    if (info > 27) throw new Refused('indefinite length or reserved head')
    const size = 1 << (info - 24)
    let value = 0n
    for (const byte of this.take(size)) value = (value << 8n) | BigInt(byte)
    if (value < [24n, 1n << 8n, 1n << 16n, 1n << 32n][info - 24]) throw new Refused('not the shortest head')
    return value
  }

  length (info) {
    const value = this.argument(info)
    if (value > BigInt(this.bytes.length)) throw new Refused('longer than the message')
    return Number(value)
  }

  item (depth) {
    if (depth > MAX_DEPTH) throw new Refused('nested too deep')
    if (--this.left < 0) throw new Refused('too many items')
    const [head] = this.take(1)
    const info = head & 31
    switch (head >> 5) {
      case 0: return signed64(this.argument(info))
      case 1: return -1n - signed64(this.argument(info))
      case 2: return this.take(this.length(info))
      case 3: return text(this.take(this.length(info)))
      case 4: return Array.from({ length: this.length(info) }, () => this.item(depth + 1))
      case 5: return this.map(this.length(info), depth)
      case 6: return this.tagged(this.argument(info), depth)
      default: return this.simple(info)
    }
  }

  map (count, depth) {
    const map = Object.create(null)
    let previous = new Uint8Array()
    for (let n = 0; n < count; n++) {
      const start = this.at
      const key = this.item(depth + 1)
      if (typeof key !== 'string') throw new Refused('a map key that is not text')
      const encoded = this.bytes.subarray(start, this.at)
      if (Buffer.compare(encoded, previous) <= 0) throw new Refused('map keys repeated or out of order')
      previous = encoded
      map[key] = this.item(depth + 1)
    }
    return map
  }

  tagged (tag, depth) {
    if (!this.tags || !TAGS.has(Number(tag))) throw new Refused(`tag ${tag} is not allowed here`)
    const data = this.item(depth + 1)
    if (!(data instanceof Uint8Array)) throw new Refused('a tag over something else than bytes')
    return new Tagged(Number(tag), data)
  }

  simple (info) {
    if (info === 20 || info === 21) return info === 21
    if (info === 22) return null
    if (info < 25 || info > 27) throw new Refused('a simple value that is not allowed')
    const { byteOffset: at } = this.take(1 << (info - 24))
    const offset = at - this.bytes.byteOffset
    const value = info === 25
      ? fromHalf(this.view.getUint16(offset))
      : info === 26 ? this.view.getFloat32(offset) : this.view.getFloat64(offset)
    if (!Number.isFinite(value)) throw new Refused('a number that is not finite')
    if (info !== shortest(value)) throw new Refused('not the shortest float')
    return value
  }
}

function signed64 (value) {
  if (value > MAX_INT) throw new Refused('beyond 64 signed bits')
  return value
}

function text (bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new Refused('text that is not UTF-8')
  }
}

export function fromHalf (bits) {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25))
}

// The half-precision bits of a value, or null when it has none.
export function toHalf (value) {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const size = Math.abs(value)
  if (size > 65504) return null
  if (size < 2 ** -14) return Number.isInteger(size * 2 ** 24) ? sign | (size * 2 ** 24) : null
  let exponent = -14
  while (size >= 2 ** (exponent + 1)) exponent++
  const mantissa = size * 2 ** (10 - exponent)
  return Number.isInteger(mantissa) ? sign | ((exponent + 15) << 10) | (mantissa - 1024) : null
}

// Additional information of the shortest head that keeps the value.
function shortest (value) {
  return toHalf(value) !== null ? 25 : Math.fround(value) === value ? 26 : 27
}

export function encode (value) {
  const parts = []
  write(value, parts)
  return Uint8Array.from(Buffer.concat(parts))
}

function write (value, parts) {
  if (value === null) parts.push(Buffer.of(0xf6))
  else if (typeof value === 'boolean') parts.push(Buffer.of(value ? 0xf5 : 0xf4))
  else if (typeof value === 'bigint') parts.push(value < 0n ? head(1, -1n - value) : head(0, value))
  else if (typeof value === 'number') parts.push(float(value))
  else if (typeof value === 'string') {
    const bytes = Buffer.from(value, 'utf-8')
    parts.push(head(3, BigInt(bytes.length)), bytes)
  } else if (value instanceof Uint8Array) parts.push(head(2, BigInt(value.length)), value)
  else if (value instanceof Tagged) {
    parts.push(head(6, BigInt(value.tag)))
    write(value.data, parts)
  } else if (Array.isArray(value)) {
    parts.push(head(4, BigInt(value.length)))
    for (const item of value) write(item, parts)
  } else {
    const entries = Object.entries(value).map(([key, item]) => [Buffer.from(encode(key)), item])
    entries.sort(([one], [other]) => Buffer.compare(one, other))
    parts.push(head(5, BigInt(entries.length)))
    for (const [key, item] of entries) {
      parts.push(key)
      write(item, parts)
    }
  }
}

function head (major, argument) {
  const size = argument < 24n ? 0 : argument < 1n << 8n ? 1 : argument < 1n << 16n ? 2 : argument < 1n << 32n ? 4 : 8
  const bytes = Buffer.alloc(1 + size)
  bytes[0] = (major << 5) | (size === 0 ? Number(argument) : 24 + Math.log2(size))
  for (let n = size; n > 0; n--) {
    bytes[n] = Number(argument & 0xffn)
    argument >>= 8n
  }
  return bytes
}

function float (value) {
  const info = shortest(value)
  const bytes = Buffer.alloc(1 + (1 << (info - 24)))
  bytes[0] = 0xe0 | info
  if (info === 25) bytes.writeUInt16BE(toHalf(value), 1)
  else if (info === 26) bytes.writeFloatBE(value, 1)
  else bytes.writeDoubleBE(value, 1)
  return bytes
}

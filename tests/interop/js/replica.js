// The replica of docs/protocol.md, in exact integer arithmetic: registers, live deltas, digest, model.

import { blake2b } from '@noble/hashes/blake2.js'
import { valueOf, sha256 } from './wire.js'

const MAX_PRECISION = 1e6
const before = (one, other) => one.seqno < other.seqno ||
  (one.seqno === other.seqno && Buffer.compare(one.digest, other.digest) < 0)

export class Replica {
  constructor (groupId, charter) {
    this.groupId = groupId
    this.charter = charter
    this.tables = new Map(charter.tables.map(table => [table.name, table]))
    this.members = new Map()
    this.left = new Map()
  }

  // Why a delta breaks its charter, or null.
  problem (delta) {
    if (delta.group_id !== this.groupId) return 'a delta of another group'
    const seen = new Set()
    for (const block of delta.blocks) {
      const table = this.tables.get(block.table)
      if (table === undefined || seen.has(block.table)) return 'an unknown or repeated table'
      seen.add(block.table)
      if (block.keys.length === 0) return 'a block without rows'
      if (block.encoding !== table.encoding) return 'another encoding'
      if (block.curvature.length !== Number(table.width)) return 'another width'
      if (block.keys.at(-1) >> table.key_bits !== 0n) return 'a key beyond its bits'
      if (block.evidence.some(n => n < 1 || n > 1e6)) return 'evidence out of bounds'
      if (block.curvature.some(m => !(m >= 0 && m <= 1000))) return 'curvature out of bounds'
      for (let row = 0; row < block.keys.length; row++) {
        for (let column = 0; column < block.curvature.length; column++) {
          if (!(Math.abs(valueOf(block, row, column)) <= table.value_limit)) return 'a value out of bounds'
        }
      }
    }
    return null
  }

  // Whether anything changed.
  merge (author, delta, envelope) {
    if (this.left.has(author) && this.left.get(author).epoch >= delta.epoch) return false
    let member = this.members.get(author)
    if (member !== undefined && delta.epoch < member.epoch) return false
    if (member === undefined || delta.epoch > member.epoch) {
      member = { epoch: delta.epoch, registers: new Map(), log: [], heard: new Set(), complete: 0n }
      this.members.set(author, member)
    }
    if (member.log.some(entry => Buffer.compare(entry.digest, delta.digest) === 0)) return false
    const entry = { seqno: delta.seqno, digest: delta.digest, envelope, rows: 0 }
    member.heard.add(delta.seqno)
    this.advance(member)
    for (const block of delta.blocks) {
      block.keys.forEach((key, row) => {
        const name = `${block.table}/${key}`
        const current = member.registers.get(name)
        if (current !== undefined && before(entry, current.entry)) return
        if (current !== undefined) current.entry.rows--
        entry.rows++
        member.registers.set(name, { entry, table: block.table, key, block, row })
      })
    }
    member.log.push(entry)
    member.log.sort((one, other) => before(one, other) ? -1 : 1)
    const latest = member.log.at(-1)
    member.log = member.log.filter(kept => kept.rows > 0 || kept === latest)
    return member.log.includes(entry)
  }

  leave (author, epoch, envelope) {
    if (this.left.has(author) && this.left.get(author).epoch >= epoch) return false
    if (this.members.get(author)?.epoch > epoch) return false
    this.members.delete(author)
    this.left.set(author, { epoch, envelope })
    return true
  }

  // Use a statement that nothing live is missing.
  markComplete ({ author, epoch, after, upto }) {
    const member = this.members.get(author)
    if (member === undefined || member.epoch !== epoch || member.complete < after) return
    let highest = 0n
    for (const seqno of member.heard) if (seqno > highest) highest = seqno
    const until = upto < highest ? upto : highest
    if (until > member.complete) member.complete = until
    this.advance(member)
  }

  advance (member) {
    while (member.heard.has(member.complete + 1n)) member.complete++
  }

  authors () {
    return [...this.members.keys()].sort()
  }

  digest () {
    const parts = this.authors().map(author => {
      const { epoch, log } = this.members.get(author)
      const orders = log.flatMap(({ seqno, digest }) => {
        const number = Buffer.alloc(8)
        number.writeBigUInt64BE(seqno)
        return [number, digest]
      })
      return sha256(`${author}/${epoch}`, ...orders)
    })
    return sha256(this.groupId, ...parts).subarray(0, 16)
  }

  // The rows of one table that anyone has evidence on, ascending by key.
  model (name) {
    const table = this.tables.get(name)
    const width = Number(table.width)
    const bits = 27 - Math.ceil(Math.log2(table.value_limit))
    const rows = new Map()
    for (const { registers } of this.members.values()) {
      for (const { table: of, key, block, row } of registers.values()) {
        if (of !== name) continue
        const sums = rows.get(key) ?? { key, num: Array(width).fill(0n), den: Array(width).fill(0n), evidence: 0 }
        rows.set(key, sums)
        sums.evidence += block.evidence[row]
        for (let c = 0; c < width; c++) {
          const h = Math.min(block.evidence[row] * block.curvature[c], MAX_PRECISION)
          sums.num[c] += BigInt(rint(h * valueOf(block, row, c) * 2 ** bits))
          sums.den[c] += BigInt(rint(h * 2 ** 27))
        }
      }
    }
    const sorted = [...rows.values()].sort((one, other) => one.key < other.key ? -1 : 1)
    for (const sums of sorted) {
      sums.values = sums.num.map((num, c) => {
        const total = Number(sums.den[c]) * 2 ** -27 + table.prior[c] + sums.evidence * table.prior_per_evidence[c]
        if (!(total > 0)) return seededRow(this.charter, table, sums.key)[c]
        const mean = Number(num) * 2 ** -bits / total
        return Math.fround(Math.max(-table.value_limit, Math.min(table.value_limit, mean)))
      })
    }
    return sorted
  }
}

// Round to the nearest integer, halves to even.
function rint (x) {
  const floor = Math.floor(x)
  const rest = x - floor
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1
  return floor % 2 === 0 ? floor : floor + 1
}

// The values of a row that nobody has evidence on.
export function seededRow (charter, table, key) {
  const name = new TextEncoder().encode(`openfl/seeded-row/${charter.seed}/${table.name}`)
  const base = BigInt('0x' + Buffer.from(blake2b(name, { dkLen: 8 })).toString('hex'))
  const deviation = Math.sqrt(4 * (65536 ** 2 - 1) / 12)
  return table.initial_scale.map((scale, column) => {
    const bits = mix(mix(key ^ base) ^ u64(BigInt(column + 1) * GOLDEN))
    const sum = [0n, 16n, 32n, 48n].reduce((sum, shift) => sum + ((bits >> shift) & 0xffffn), 0n)
    return Math.fround((Number(sum) - 131070) / deviation * scale + 0)
  })
}

const GOLDEN = 0x9e3779b97f4a7c15n
const u64 = x => BigInt.asUintN(64, x)

function mix (x) {
  let z = u64(x + GOLDEN)
  z = u64((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n)
  z = u64((z ^ (z >> 27n)) * 0x94d049bb133111ebn)
  return z ^ (z >> 31n)
}

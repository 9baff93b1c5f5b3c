// A member of one learning group: everything of docs/protocol.md but learning itself.

import { TopicValidatorResult } from '@libp2p/gossipsub'
import { Refused } from './cbor.js'
import { open, seal } from './envelope.js'
import { Replica } from './replica.js'
import { request, serve } from './streams.js'
import {
  DECODE, ENCODE, MAX, OtherVersion, decodeCard, decodeDelta, decodeDirectory, decodeGossip, decodeInvitation,
  decodeLeave, encodeDelta, encodeGossip, groupIdOf, sha256
} from './wire.js'

const DELTA = '/openfl/delta/1'
const LEAVE = '/openfl/leave/1'
const CARD = '/openfl/card/1'
const INVITATION = '/openfl/invitation/1'
const DIRECTORY = '/openfl/1/directory'
export const SNAPSHOT = '/openfl/snapshot/1'
export const PULL = '/openfl/pull/1'
export const GROUPS = '/openfl/groups/1'
export const PEERS = '/openfl/peers/1'
const INLINE_BYTES = 65536
const PAGE_BYTES = 1n << 18n

export class Member {
  // `tell(event)` hears of every gossip message and its verdict.
  constructor (node, privateKey, charter, tell) {
    this.node = node
    this.privateKey = privateKey
    this.id = node.peerId.toString()
    this.groupId = groupIdOf(charter)
    this.topic = `/openfl/1/${this.groupId}/deltas`
    this.replica = new Replica(this.groupId, charter)
    this.tell = tell
    this.cards = new Map()
    this.founder = charter.founder // of a closed group
    this.invitations = new Map() // guest -> { envelope, expiresAt }
    this.epoch = BigInt(Date.now()) * 1000n
    this.seqno = 0n
  }

  async join () {
    await serve(this.node, SNAPSHOT, (payload, peer) => this.answer(DECODE['snapshot-request'](payload), null, peer))
    await serve(this.node, PULL, (payload, peer) => {
      const { wants, ...rest } = DECODE['pull-request'](payload)
      return this.answer({ ...rest, known: wants }, Object.keys(wants), peer)
    })
    await serve(this.node, GROUPS, payload => {
      DECODE['groups-request'](payload)
      const now = Date.now() / 1000
      const cards = [...this.cards.values()].sort((one, other) => other.issuedAt - one.issuedAt)
      return ENCODE['cards-answer']({
        t: 'cards',
        cards: cards.map(({ envelope, issuedAt }) => [envelope, BigInt(Math.ceil(Math.max(0, now - issuedAt)))])
      })
    })
    await serve(this.node, PEERS, (payload, peer) => this.tellPeers(DECODE['peers-request'](payload), peer))
    const gossip = this.node.services.gossip
    gossip.topicValidators.set(this.topic, (peer, message) => this.judge(peer.toString(), message))
    gossip.topicValidators.set(DIRECTORY, (peer, message) => this.judgeCard(message))
    gossip.subscribe(this.topic)
    gossip.subscribe(DIRECTORY)
  }

  // --- who may be a member of a closed group ---------------------------------------------------------

  admits (peer) {
    if (this.founder === undefined || peer === this.founder) return true
    return BigInt(Math.floor(Date.now() / 1000)) < (this.invitations.get(peer)?.expiresAt ?? 0n)
  }

  // Take in an invitation, of `guest` if that is given.
  async learn (envelope, guest) {
    if (this.founder === undefined) return
    if (envelope.length > MAX.invitation) throw new Refused('an invitation that is too large')
    const { author, payload } = await open(INVITATION, envelope)
    const invitation = decodeInvitation(payload)
    if (author !== this.founder) throw new Refused('an invitation that the founder did not sign')
    if (invitation.group_id !== this.groupId) throw new Refused('an invitation to another group')
    if (guest !== undefined && invitation.guest !== guest) throw new Refused('an invitation of another guest')
    const known = this.invitations.get(invitation.guest)
    if (known !== undefined && known.expiresAt >= invitation.expires_at) return
    this.invitations.set(invitation.guest, { envelope, expiresAt: invitation.expires_at })
  }

  // This member's own; in open groups, and the founder's, empty.
  get invitation () {
    return this.invitations.get(this.id)?.envelope ?? new Uint8Array()
  }

  // --- hearing --------------------------------------------------------------------------------------

  async judge (forwarder, message) {
    const author = message.from?.toString()
    const event = { event: 'gossip', author, forwarder, size: message.data.length }
    let verdict
    try {
      verdict = await this.take(author, message.data, forwarder, event)
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      event.why = error.message
      verdict = 'reject'
    }
    this.tell({ ...event, verdict })
    return TopicValidatorResult[verdict[0].toUpperCase() + verdict.slice(1)]
  }

  async judgeCard (message) {
    try {
      const envelope = decodeDirectory(message.data)
      const { author, payload } = await open(CARD, envelope)
      const card = decodeCard(payload, author)
      this.tell({ event: 'card', issuer: author, group: card.charter.group_id, members: card.members })
      const known = this.cards.get(card.charter.group_id)
      if (known !== undefined && known.issuedAt >= card.issued_at) return TopicValidatorResult.Ignore
      this.cards.set(card.charter.group_id, { envelope, issuedAt: card.issued_at })
      return TopicValidatorResult.Accept
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      if (error instanceof OtherVersion) return TopicValidatorResult.Ignore
      this.tell({ event: 'card-refused', why: error.message })
      return TopicValidatorResult.Reject
    }
  }

  async take (author, payload, forwarder, event) {
    const message = decodeGossip(payload)
    event.kind = message.t ?? 'heartbeat'
    if (message.invitation?.length > 0) await this.learn(message.invitation, author)
    if (!this.admits(author)) {
      event.why = 'not-invited'
      return 'ignore'
    }
    if (event.kind === 'heartbeat') {
      Object.assign(event, { members: message.members, replica: message.replica, seqno: message.seqno })
      return 'accept'
    }
    if (event.kind === 'announce') {
      Object.assign(event, { epoch: message.epoch, seqno: message.seqno, announced: message.size })
      // Pulled behind the verdict's back, since gossipsub waits for that.
      this.pullAnnounced(author, message, forwarder).catch(error => this.tell({ event: 'pull-failed', why: error.message }))
      return 'accept'
    }
    const signer = await this.mergeEnvelope(event.kind, message.envelope, event)
    if (signer !== author) throw new Refused('the signer is not the publisher')
    return event.changed ? 'accept' : 'ignore'
  }

  // Verify and merge one envelope from anywhere; who signed it.
  async mergeEnvelope (kind, envelope, event = {}) {
    const { author, payload } = await open(kind === 'delta' ? DELTA : LEAVE, envelope)
    if (!this.admits(author)) return author // passed over; nobody is blamed
    if (kind === 'leave') {
      const leave = decodeLeave(payload)
      if (leave.group_id !== this.groupId) throw new Refused('a leave of another group')
      event.changed = this.replica.leave(author, leave.epoch, envelope)
      return author
    }
    const delta = decodeDelta(payload)
    const problem = this.replica.problem(delta)
    if (problem !== null) throw new Refused(problem)
    Object.assign(event, { epoch: delta.epoch, seqno: delta.seqno, round: delta.round, fit: delta.fit, digest: delta.digest })
    event.rows = delta.blocks.reduce((sum, block) => sum + block.keys.length, 0)
    event.changed = this.replica.merge(author, delta, envelope)
    return author
  }

  async pullAnnounced (author, announced, from) {
    const known = this.replica.members.get(author)
    const seqno = known?.epoch === announced.epoch ? known.complete : 0n
    const wants = { [author]: { epoch: announced.epoch, seqno } }
    const digests = await this.collect(from, PULL, 'pull-request', { wants })
    this.tell({ event: 'pulled', author, seqno: announced.seqno, right: digests.has(Buffer.from(announced.digest).toString('hex')) })
  }

  snapshot (peer, maxBytes = PAGE_BYTES) {
    return this.collect(peer, SNAPSHOT, 'snapshot-request', { known: {} }, maxBytes)
  }

  // Ask page by page and merge; the digests of the deltas that came.
  async collect (peer, protocol, kind, query, maxBytes = PAGE_BYTES) {
    const digests = new Set()
    let cursor = null
    let pages = 0
    do {
      const asked = ENCODE[kind]({ group_id: this.groupId, ...query, cursor, max_bytes: maxBytes, invitation: this.invitation })
      const answer = DECODE['items-answer'](await request(this.node, peer, protocol, asked))
      if (answer.t === 'refused') throw new Error(`refused: ${answer.code}`)
      for (const invitation of answer.invitations) await this.learn(invitation)
      for (const item of answer.items) {
        const event = {}
        await this.mergeEnvelope(item.kind, item.envelope, event)
        if (event.digest !== undefined) digests.add(Buffer.from(event.digest).toString('hex'))
      }
      for (const statement of answer.complete) {
        if (this.admits(statement.author)) this.replica.markComplete(statement)
      }
      this.theirs = answer.replica
      cursor = answer.cursor
      pages++
    } while (cursor !== null)
    this.pages = pages
    return digests
  }

  // Connected members of the group, and where they are.
  async tellPeers (groupId, asker) {
    const gossip = this.node.services.gossip
    const members = groupId === null ? this.node.getPeers() : gossip.getSubscribers(`/openfl/1/${groupId}/deltas`)
    const peers = []
    for (const peer of members) {
      if (peer.toString() === asker) continue
      const { addresses } = await this.node.peerStore.get(peer)
      const texts = addresses.map(({ multiaddr }) => multiaddr.toString().replace(`/p2p/${peer}`, ''))
      if (texts.length > 0) peers.push([peer.toString(), texts.slice(0, 8)])
    }
    this.tell({ event: 'told-peers', asker, peers })
    return ENCODE['peers-answer'](peers.slice(0, 32))
  }

  // --- saying ---------------------------------------------------------------------------------------

  // Rows of codes in the encodings of the charter become the next delta of this member.
  build (blocks, { round = this.seqno + 1n, examples = 100n, fit = null, epoch = this.epoch, seqno } = {}) {
    if (seqno === undefined) seqno = ++this.seqno
    return { group_id: this.groupId, epoch, seqno, round, examples, fit, blocks }
  }

  // `quiet`: merge it and tell nobody.
  async publish (delta, quiet = false) {
    const body = encodeDelta(delta)
    const envelope = await seal(this.privateKey, DELTA, body)
    await this.mergeEnvelope('delta', envelope)
    if (quiet) return { kind: 'quiet', envelope, recipients: [] }
    const message = envelope.length <= INLINE_BYTES
      ? { t: 'delta', envelope }
      : { t: 'announce', digest: sha256(body), size: BigInt(envelope.length), epoch: delta.epoch, seqno: delta.seqno }
    return { kind: message.t, envelope, recipients: await this.gossip(encodeGossip(message)) }
  }

  async gossip (payload) {
    const { recipients } = await this.node.services.gossip.publish(this.topic, payload)
    return recipients.map(String)
  }

  async heartbeat (invitation = this.invitation) {
    const versions = this.replica.authors().map(author => {
      const { epoch, complete } = this.replica.members.get(author)
      return { author, epoch, seqno: complete, age_seconds: 0n, opinion: null }
    })
    const replica = Uint8Array.from(this.replica.digest())
    const mine = { epoch: this.seqno === 0n ? 0n : this.epoch, seqno: this.seqno, round: this.seqno, examples: 100n }
    return this.gossip(encodeGossip({ ...mine, fit: null, members: BigInt(versions.length), versions, replica, invitation }))
  }

  // Answers `groups` with a card of its own from now on.
  async issueCard (charter) {
    const issuedAt = Date.now() / 1000
    const fit = { fit_metric: null, fit_best: null, fit_median: null }
    const body = ENCODE.card({ charter, members: 1n, rows: 0n, issued_at: issuedAt, ...fit })
    this.cards.set(this.groupId, { envelope: await seal(this.privateKey, CARD, body), issuedAt })
  }

  async leave () {
    const body = ENCODE.leave({ group_id: this.groupId, epoch: this.epoch })
    const envelope = await seal(this.privateKey, LEAVE, body)
    this.replica.leave(this.id, this.epoch, envelope)
    return this.gossip(encodeGossip({ t: 'leave', envelope }))
  }

  // One page with everything: this member's replicas are small.
  async answer ({ group_id: groupId, known, invitation }, only, peer) {
    const refuse = code => ENCODE['items-answer']({ t: 'refused', code, text: '' })
    if (groupId !== this.groupId) return refuse('unknown-group')
    if (invitation.length > 0) await this.learn(invitation, peer)
    if (!this.admits(peer)) return refuse('not-invited')
    const items = []
    const complete = []
    const everyone = [...new Set([...this.replica.authors(), ...this.replica.left.keys()])].sort()
    const authors = new Set()
    for (const author of everyone) {
      if (only !== null && !only.includes(author)) continue
      const have = known[author] ?? { epoch: 0n, seqno: 0n }
      const left = this.replica.left.get(author)
      if (left !== undefined && have.epoch <= left.epoch) {
        items.push({ kind: 'leave', envelope: left.envelope, age_seconds: 0n })
        authors.add(author)
      }
      const member = this.replica.members.get(author)
      if (member === undefined || have.epoch > member.epoch) continue
      const after = have.epoch === member.epoch ? have.seqno : 0n
      for (const { seqno, envelope } of member.log) {
        if (seqno <= after) continue
        items.push({ kind: 'delta', envelope, age_seconds: 0n })
        authors.add(author)
      }
      if (member.complete > after) {
        complete.push({ author, epoch: member.epoch, after, upto: member.complete, age_seconds: 0n })
      }
    }
    this.tell({ event: 'served', items: items.length, authors: everyone.length })
    const invitations = [...authors].flatMap(author => this.invitations.get(author)?.envelope ?? [])
    const replica = Uint8Array.from(this.replica.digest())
    return ENCODE['items-answer']({ items, complete, cursor: null, replica, invitations })
  }
}

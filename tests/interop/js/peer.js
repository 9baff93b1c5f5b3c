// A js-libp2p peer that is driven by JSON lines: one command a line on stdin, one answer a line on
// stdout ({ id, ok } or { id, error }), and { event } lines for what happens in between. It ends when
// stdin does.
//
//   node peer.js '{"seed": "<32 bytes in hex>", "port": 0, "security": ["noise"], "only": ["12D3..."]}'
//
// `via`: a relay's address; the peer listens at a circuit there and nowhere else. `relay`: bytes that
// each circuit over this peer may carry, or true for no limit. `psk`: the file of a private network.
// `host`: the address it listens at. `mdns`: it finds peers of its LAN, and is found.

import './node20.js'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { circuitRelayServer, circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { mdns } from '@libp2p/mdns'
import { noise } from '@libp2p/noise'
import { peerIdFromString } from '@libp2p/peer-id'
import { ping } from '@libp2p/ping'
import { preSharedKey } from '@libp2p/pnet'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import * as Digest from 'multiformats/hashes/digest'
import { open, seal } from './envelope.js'
import { Member } from './member.js'
import { Replica, seededRow } from './replica.js'
import { PATIENCE_MS, request } from './streams.js'
import { DECODE, ENCODE, decodeDelta, groupIdOf, hex, isScaled, readable, sha256, unhex } from './wire.js'

const DEFAULTS = {
  host: '127.0.0.1', port: 0, security: ['noise'], only: null, dht: true, via: null, relay: false, psk: null, mdns: false
}
const options = { ...DEFAULTS, ...JSON.parse(process.argv[2] ?? '{}') }
const privateKey = await generateKeyPairFromSeed('Ed25519', unhex(options.seed))
// Told from mDNS itself: libp2p's own `peer:discovery` comes without addresses when the peer has
// dialled us before we heard it on the LAN.
const toldMdns = components => {
  const discovery = mdns()(components)
  discovery.addEventListener('peer', ({ detail }) => {
    say({ event: 'mdns', peer: detail.id.toString(), addresses: detail.multiaddrs.map(String) })
  })
  return discovery
}
const SECURITY = { noise: noise(), tls: tls() }
const limits = relay => relay === true ? { applyDefaultLimit: false } : { defaultDataLimit: BigInt(relay) }
const stranger = id => options.only !== null && !options.only.includes(id.toString())

const node = await createLibp2p({
  privateKey,
  addresses: { listen: [options.via === null ? `/ip4/${options.host}/tcp/${options.port}` : `${options.via}/p2p-circuit`] },
  transports: [tcp(), circuitRelayTransport()],
  connectionEncrypters: options.security.map(name => SECURITY[name]),
  streamMuxers: [yamux()],
  ...(options.mdns ? { peerDiscovery: [toldMdns] } : {}),
  ...(options.psk === null ? {} : { connectionProtector: preSharedKey({ psk: readFileSync(options.psk) }) }),
  // Lines of peers that must not meet: only those named are let in or dialled.
  connectionGater: {
    denyDialMultiaddr: () => false,
    denyDialPeer: id => stranger(id),
    denyInboundEncryptedConnection: id => stranger(id)
  },
  services: {
    identify: identify(),
    ping: ping({ maxOutboundStreams: 4 }), // beside that of js-libp2p's own watch over connections
    gossip: gossipsub({ allowPublishToZeroTopicPeers: true, runOnLimitedConnection: true }),
    ...(options.relay ? { relay: circuitRelayServer({ reservations: limits(options.relay) }) } : {}),
    ...(options.dht
      ? {
          dht: kadDHT({
            protocol: '/openfl/kad/1.0.0',
            clientMode: options.dht === 'client',
            allowQueryWithZeroPeers: true,
            peerInfoMapper: passthroughMapper // addresses on loopback count
          })
        }
      : {})
  }
})

const say = line => process.stdout.write(JSON.stringify(readable(line)) + '\n')
for (const kind of ['peer:connect', 'peer:disconnect']) {
  node.addEventListener(kind, ({ detail }) => say({ event: kind, peer: detail.toString() }))
}

// js-libp2p identifies every new connection by itself; a second time at once is refused.
const identified = new Map()
node.addEventListener('peer:identify', ({ detail }) => identified.set(detail.peerId.toString(), detail))

const connectionTo = peer => node.getConnections(peerIdFromString(peer)).find(c => c.status === 'open')
const cidOf = key => CID.createV1(raw.code, Digest.create(0x12, unhex(key)))
const addresses = () => node.getMultiaddrs().map(String)
let member = null

const COMMANDS = {
  // peers
  dial: async ({ address }) => (await node.dial(multiaddr(address))).remotePeer.toString(),
  'hang-up': ({ peer }) => node.hangUp(peerIdFromString(peer)),
  ping: ({ peer }) => node.services.ping.ping(peerIdFromString(peer)),
  peers: () => node.getPeers().map(String),
  connection: ({ peer }) => {
    const { encryption, multiplexer, direction, limits } = connectionTo(peer)
    return { encryption, multiplexer, direction, limited: limits !== undefined }
  },
  identify: async ({ peer }) => {
    while (!identified.has(peer)) await new Promise(resolve => setTimeout(resolve, 20))
    const { agentVersion, listenAddrs, protocols, peerId } = identified.get(peer)
    return { agentVersion, protocols, addresses: listenAddrs.map(String), peer: peerId.toString() }
  },

  // DHT
  provide: async ({ key }) => {
    await node.contentRouting.provide(cidOf(key), { signal: AbortSignal.timeout(PATIENCE_MS) })
  },
  'find-providers': async ({ key }) => {
    const found = {}
    for await (const { id, multiaddrs } of node.contentRouting.findProviders(cidOf(key), { signal: AbortSignal.timeout(PATIENCE_MS) })) {
      found[id.toString()] = multiaddrs.map(String)
    }
    return found
  },

  // a group
  groups: async ({ peer }) => {
    const answer = DECODE['cards-answer'](await request(node, peer, '/openfl/groups/1', ENCODE['groups-request']()))
    return Promise.all(answer.cards.map(async ([envelope]) => {
      const { author, payload } = await open('/openfl/card/1', envelope)
      return { ...DECODE.card(payload, author), charter_hex: hex(ENCODE.cbor(DECODE.cbor(payload).charter)) }
    }))
  },
  'ask-peers': async ({ peer, group }) =>
    DECODE['peers-answer'](await request(node, peer, '/openfl/peers/1', ENCODE['peers-request'](group))),
  join: async ({ charter, invitation }) => {
    const plain = DECODE.cbor(unhex(charter))
    member = new Member(node, privateKey, plain, say)
    if (invitation !== undefined) await member.learn(unhex(invitation))
    await member.join()
    return member.groupId
  },
  found: async ({ charter }) => {
    await COMMANDS.join({ charter })
    await member.issueCard(DECODE.cbor(unhex(charter)))
    return member.groupId
  },
  mesh: () => ({
    mesh: node.services.gossip.getMeshPeers(member.topic),
    subscribers: node.services.gossip.getSubscribers(member.topic).map(String)
  }),
  snapshot: async ({ peer, max_bytes: maxBytes = 262144 }) => {
    const digests = await member.snapshot(peer, BigInt(maxBytes))
    return { deltas: digests.size, pages: member.pages, theirs: member.theirs }
  },
  publish: async ({ rows, table = 'items', quiet = false, ...more }) => {
    const delta = member.build([blockOf(table, rows)], numbers(more))
    const { envelope, ...said } = await member.publish(delta, quiet)
    return { ...said, epoch: delta.epoch, seqno: delta.seqno, digest: sha256(ENCODE.delta(delta)) }
  },
  // Signed and published as it is, without looking at it: for what must be refused.
  'publish-body': async ({ body, type = '/openfl/delta/1', domain, flip = false }) => {
    const envelope = await seal(privateKey, type, unhex(body), { domain })
    if (flip) envelope[envelope.length - 1] ^= 1
    return member.gossip(ENCODE.gossip({ t: 'delta', envelope }))
  },
  'publish-bytes': ({ payload }) => member.gossip(unhex(payload)),
  // `as`: the name of a table that the charter may lack.
  body: ({ rows, table = 'items', as = table, ...more }) =>
    ENCODE.delta(member.build([{ ...blockOf(table, rows), table: as }], numbers(more))),
  request: async ({ peer, protocol, payload }) => request(node, peer, protocol, unhex(payload)),
  // Somebody else's signed delta, published as one's own.
  'publish-copy': ({ author }) => {
    const { envelope } = member.replica.members.get(author).log.at(-1)
    return member.gossip(ENCODE.gossip({ t: 'delta', envelope }))
  },
  heartbeat: () => member.heartbeat(),
  leave: () => member.leave(),
  // A heartbeat that shows any bytes as an invitation.
  'show-invitation': ({ invitation }) => member.heartbeat(unhex(invitation)),
  // Signed by this peer, rightly or not.
  invite: ({ guest, group = member.groupId, seconds = 3600 }) => {
    const now = BigInt(Math.floor(Date.now() / 1000))
    const body = { group_id: group, guest, issued_at: now, expires_at: now + BigInt(seconds) }
    return seal(privateKey, '/openfl/invitation/1', ENCODE.invitation(body))
  },
  replica: () => ({
    digest: member.replica.digest(),
    members: Object.fromEntries(member.replica.authors().map(author => {
      const { epoch, complete, registers } = member.replica.members.get(author)
      return [author, { epoch, complete, rows: registers.size }]
    }))
  }),
  model: ({ table }) => modelOf(member.replica, table),

  // golden vectors
  decode: ({ kind, data, issuer }) => {
    const value = DECODE[kind](unhex(data), issuer)
    return { value, again: ENCODE[kind](value) }
  },
  open: ({ type, envelope }) => open(type, unhex(envelope)),
  seal: async ({ seed, type, payload }) => seal(await generateKeyPairFromSeed('Ed25519', unhex(seed)), type, unhex(payload)),
  seeded: ({ charter, table: name, keys }) => {
    const plain = DECODE.cbor(unhex(charter))
    const table = plain.tables.find(t => t.name === name)
    return keys.map(key => seededRow(plain, table, BigInt(key)).map(v => hex(float32(v))))
  },
  merge: ({ charter, deltas }) => {
    const plain = DECODE.cbor(unhex(charter))
    const replica = new Replica(groupIdOf(plain), plain)
    for (const { author, hex: body } of deltas) replica.merge(author, decodeDelta(unhex(body)), unhex(body))
    return { digest: replica.digest(), tables: plain.tables.map(({ name }) => ({ table: name, rows: modelOf(replica, name) })) }
  }
}

// Rows [key as text, codes, scale or null, evidence] of one table, in the encoding of the charter.
function blockOf (name, rows) {
  const table = member.replica.tables.get(name)
  return {
    table: name,
    encoding: table.encoding,
    keys: rows.map(([key]) => BigInt(key)),
    codes: rows.map(([, codes]) => codes),
    scales: isScaled(table.encoding) ? rows.map(([, , scale]) => scale) : [],
    evidence: rows.map(([, , , evidence]) => evidence),
    curvature: Array(Number(table.width)).fill(1)
  }
}

const numbers = values => Object.fromEntries(
  Object.entries(values).map(([name, value]) => [name, typeof value === 'number' ? BigInt(value) : value])
)

const modelOf = (replica, name) => replica.model(name).map(({ key, num, den, evidence, values }) => ({
  key, num, den, evidence, values_float32_be: values.map(v => hex(float32(v)))
}))

function float32 (value) {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatBE(value)
  return bytes
}

async function obey ({ id, do: name, ...argument }) {
  try {
    say({ id, ok: (await COMMANDS[name](argument)) ?? null })
  } catch (error) {
    say({ id, error: `${error.name}: ${error.message}` })
  }
}

say({ event: 'ready', peer: node.peerId.toString(), addresses: addresses() })
const lines = createInterface({ input: process.stdin })
lines.on('line', line => obey(JSON.parse(line)))
lines.on('close', async () => {
  await Promise.race([node.stop(), new Promise(resolve => setTimeout(resolve, 2000))])
  process.exit(0)
})

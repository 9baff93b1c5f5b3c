// Signed envelopes (libp2p RFC 0002), sealed and verified by js-libp2p's own implementation.

import { RecordEnvelope } from '@libp2p/peer-record'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import { Refused } from './cbor.js'

const DOMAIN = 'openfl'
const MAX_BYTES = 525312

export async function seal (privateKey, type, payload, { domain = DOMAIN } = {}) {
  const record = { domain, codec: new TextEncoder().encode(type), marshal: () => payload }
  const envelope = await RecordEnvelope.seal(record, privateKey)
  return Uint8Array.from(envelope.marshal())
}

// { author, payload }; Refused unless this is a valid envelope of that type in canonical form.
export async function open (type, bytes) {
  if (bytes.length > MAX_BYTES) throw new Refused('an envelope that is too large')
  let envelope
  try {
    envelope = await RecordEnvelope.openAndCertify(bytes, DOMAIN)
  } catch (error) {
    throw new Refused(`signature invalid: ${error.message}`)
  }
  if (envelope.publicKey.type !== 'Ed25519') throw new Refused('signed with a key that is not Ed25519')
  if (Buffer.compare(envelope.marshal(), bytes) !== 0) throw new Refused('not in canonical form')
  if (new TextDecoder().decode(envelope.payloadType) !== type) throw new Refused('another payload type')
  return { author: peerIdFromPublicKey(envelope.publicKey).toString(), payload: envelope.payload }
}

// One request is one stream: a frame each way, its length as 4 bytes big-endian before it.

import { peerIdFromString } from '@libp2p/peer-id'
import { MAX } from './wire.js'

export const PATIENCE_MS = 200_000 // less than the tests wait for an answer

async function readFrame (stream, most) {
  const chunks = []
  let size = 0
  for await (const chunk of stream) {
    chunks.push(chunk.subarray())
    size += chunk.byteLength
    if (size < 4) continue
    const data = Buffer.concat(chunks)
    const length = data.readUInt32BE()
    if (length > most) throw new Error(`a frame of ${length} bytes`)
    if (size >= 4 + length) return Uint8Array.from(data.subarray(4, 4 + length))
  }
  throw new Error(`the stream ended after ${size} bytes, inside a frame`)
}

async function writeFrame (stream, payload) {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(payload.length)
  if (!stream.send(Buffer.concat([length, payload]))) await stream.onDrain()
}

export async function request (node, peer, protocol, payload) {
  const signal = AbortSignal.timeout(PATIENCE_MS)
  const stream = await node.dialProtocol(peerIdFromString(peer), protocol, { signal, runOnLimitedConnection: true })
  try {
    await writeFrame(stream, payload)
    const [answer] = await Promise.all([readFrame(stream, MAX.answer), stream.close({ signal })])
    return answer
  } catch (error) {
    stream.abort(error)
    throw error
  }
}

// `answer(payload, peer)` gives the answer's bytes; what it throws resets the stream.
export async function serve (node, protocol, answer) {
  await node.handle(protocol, async (stream, connection) => {
    try {
      const payload = await readFrame(stream, MAX.request)
      await writeFrame(stream, await answer(payload, connection.remotePeer.toString()))
      await stream.close()
    } catch (error) {
      stream.abort(error)
    }
  }, { runOnLimitedConnection: true })
}

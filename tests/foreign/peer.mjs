// A JavaScript libp2p peer that does with one address what it is told to, and says as JSON what came of it.
// Usage: node peer.mjs ADDRESS '{"PROTOCOL": "hex of what to send", ...}'; the packages stand in NODE_PACKAGES/node_modules.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

// The library wants Node 22 for this one function.
Promise.withResolvers ??= () => {
  let resolve, reject
  const promise = new Promise((yes, no) => { resolve = yes; reject = no })
  return { promise, resolve, reject }
}

const root = createRequire(`${process.env.NODE_PACKAGES}/package.json`)
const load = (name) => import(pathToFileURL(`${process.env.NODE_PACKAGES}/node_modules/${name}`).href)
const entry = async (name) => {
  const about = root(`${process.env.NODE_PACKAGES}/node_modules/${name}/package.json`)
  return load(`${name}/${about.exports['.'].import ?? about.exports['.'].module}`)
}

const [{ createLibp2p }, { tcp }, { noise }, { yamux }, { identify }, { ping }, { multiaddr }] = await Promise.all([
  'libp2p', '@libp2p/tcp', '@chainsafe/libp2p-noise', '@chainsafe/libp2p-yamux', '@libp2p/identify', '@libp2p/ping', '@multiformats/multiaddr'
].map(entry))

const SECONDS = 5
const soon = () => ({ signal: AbortSignal.timeout(SECONDS * 1000) })
const [address, said] = [multiaddr(process.argv[2]), JSON.parse(process.argv[3])]
const found = { answers: {} }
const node = await createLibp2p({
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify({ runOnConnectionOpen: false }), ping: ping() }
})

async function answerTo (protocol, data) {
  const stream = await node.dialProtocol(address, protocol, soon())
  const answer = []
  const reading = (async () => { for await (const part of stream) answer.push(Buffer.from(part.subarray())) })().catch(() => {})
  stream.send(Buffer.from(data, 'hex'))
  await Promise.race([reading, new Promise((resolve) => setTimeout(resolve, 1000))])
  stream.abort(new Error('done'))
  return Buffer.concat(answer).toString('hex')
}

const connection = await node.dial(address, soon())
found.peer = connection.remotePeer.toString()
found.ping = await node.services.ping.ping(address, soon())
const about = await node.services.identify.identify(connection, soon())
found.identify = { agent: about.agentVersion, protocol: about.protocolVersion, protocols: about.protocols, addresses: about.listenAddrs.map(String) }
for (const [protocol, data] of Object.entries(said)) {
  found.answers[protocol] = await answerTo(protocol, data).catch((error) => `failed: ${error.name}`)
}
process.stdout.write(JSON.stringify(found))
await node.stop()

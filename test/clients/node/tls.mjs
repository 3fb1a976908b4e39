// SPDX-License-Identifier: Apache-2.0

// One message over TLS. The SDK verifies the server with the roots of gRPC, which are read when gRPC is loaded: so this
// is a process of its own, started with GRPC_DEFAULT_SSL_ROOTS_FILE_PATH naming the server's certificate.

import { assert, Clients, newTopic, nothing, receive, unique } from './client.mjs';

const clients = new Clients({ sslEnabled: true });
const topic = await newTopic();
const producer = await clients.producer(topic);
const consumer = await clients.simple(unique('group'), topic);
const { messageId } = await producer.send({ topic, body: Buffer.from('sealed') });
const [m] = await receive(consumer, 60_000);
assert.equal(m.messageId, messageId);
await consumer.ack(m);
await nothing(consumer);
await clients.stop();
process.exit(0);

// SPDX-License-Identifier: Apache-2.0

// The cases of the Node.js SDK over plaintext, its default.

import {
  assert, bodyMax, ConsumeResult, newGroup, newTopic, nothing, receive, sleep, unique, until, withClients,
} from './client.mjs';

const message = (topic, text, more = {}) => ({ topic, body: Buffer.from(text), ...more });

async function send(clients) {
  const topic = await newTopic();
  const producer = await clients.producer(topic);
  const consumer = await clients.simple(unique('group'), topic);
  const want = new Set();
  for (let i = 0; i < 5; i++) {
    want.add((await producer.send(message(topic, `one after the other ${i}`))).messageId);
  }
  const receipts = await Promise.all([0, 1, 2, 3, 4].map(i => producer.send(message(topic, `at once ${i}`))));
  receipts.forEach(r => want.add(r.messageId));
  assert.equal(want.size, 10);
  while (want.size > 0) {
    for (const m of await receive(consumer, 60_000)) {
      assert.ok(want.delete(m.messageId), `message ${m.messageId} twice or never sent`);
      await consumer.ack(m);
    }
  }
}

async function simple(clients) {
  const topic = await newTopic();
  const producer = await clients.producer(topic);
  const consumer = await clients.simple(unique('group'), topic, 'a');
  await producer.send(message(topic, 'filtered out', { tag: 'b' }));
  const { messageId } = await producer.send(message(topic, 'hello', {
    tag: 'a', keys: ['k1', 'k2'], properties: new Map([['colour', 'blue']]),
  }));
  const got = await receive(consumer, 2000);
  assert.equal(got.length, 1);
  const [m] = got;
  assert.equal(m.messageId, messageId);
  assert.equal(m.body.toString(), 'hello');
  assert.equal(m.tag, 'a');
  assert.deepEqual(m.keys, ['k1', 'k2']);
  assert.equal(m.properties.get('colour'), 'blue');
  assert.equal(m.deliveryAttempt, 1);
  assert.ok(!m.corrupted && m.bornTimestamp && m.bornHost);
  // Held for longer than the first lease by the change, then settled.
  await consumer.changeInvisibleDuration(m, 60_000);
  await nothing(consumer);
  await consumer.ack(m);
  await nothing(consumer);
}

async function redelivery(clients) {
  const topic = await newTopic();
  const producer = await clients.producer(topic);
  const consumer = await clients.simple(unique('group'), topic);
  const { messageId } = await producer.send(message(topic, 'again'));
  const [first] = await receive(consumer, 1000);
  const [second] = await receive(consumer, 60_000);
  assert.equal(second.messageId, messageId);
  assert.deepEqual([first.deliveryAttempt, second.deliveryAttempt], [1, 2]);
  await assert.rejects(consumer.ack(first), { name: 'BadRequestException', code: 40013 });
  // 0 gives it back at once.
  await consumer.changeInvisibleDuration(second, 0);
  const [third] = await receive(consumer, 60_000);
  assert.equal(third.deliveryAttempt, 3);
  await consumer.ack(third);
  await nothing(consumer);
}

async function push(clients) {
  const topic = await newTopic();
  const producer = await clients.producer(topic);
  const seen = [];
  await clients.push(unique('group'), topic, 'a || b', m => {
    seen.push(m.body.toString());
    return ConsumeResult.SUCCESS;
  });
  for (const [i, tag] of ['a', 'b', 'c', undefined, 'a', 'b'].entries()) {
    await producer.send(message(topic, `${tag}${i}`, tag ? { tag } : {}));
  }
  await until('four messages', () => seen.length >= 4);
  await sleep(1000);
  assert.deepEqual(seen.sort(), ['a0', 'a4', 'b1', 'b5']);
}

async function deadLetter(clients) {
  const topic = await newTopic();
  const group = await newGroup(2);
  const producer = await clients.producer(topic);
  const consumer = await clients.simple(group, topic);
  const { messageId } = await producer.send(message(topic, 'doomed'));
  for (const attempt of [1, 2]) {
    const [m] = await receive(consumer, 1000);
    assert.equal(m.deliveryAttempt, attempt);
  }
  await expectDeadLetter(clients, group, messageId);
  await nothing(consumer);
}

/** The SDK ignores the list of delays of a push consumer's policy and gives a failed message back at once. */
async function pushDeadLetter(clients) {
  const topic = await newTopic();
  const group = await newGroup(2);
  const producer = await clients.producer(topic);
  const attempts = [];
  await clients.push(group, topic, '*', m => {
    attempts.push(m.deliveryAttempt);
    return ConsumeResult.FAILURE;
  });
  const { messageId } = await producer.send(message(topic, 'doomed'));
  await expectDeadLetter(clients, group, messageId);
  assert.deepEqual(attempts, [1, 2]);
}

async function expectDeadLetter(clients, group, messageId) {
  const reader = await clients.simple(unique('reader'), `%DLQ%${group}`);
  const [dead] = await receive(reader, 60_000);
  assert.equal(dead.messageId, messageId);
  assert.equal(dead.body.toString(), 'doomed');
  await reader.ack(dead);
}

async function unknownTopic(clients) {
  await assert.rejects(clients.producer('no-such-topic'), err => {
    // A start that fails says so after three attempts, with the reason as cause of a cause.
    let reason = err;
    while (reason.cause) {
      reason = reason.cause;
    }
    assert.deepEqual([reason.name, reason.code], ['NotFoundException', 40402]);
    return true;
  });
  const producer = await clients.producer(await newTopic());
  await assert.rejects(producer.send(message('no-such-topic', 'x')), { name: 'NotFoundException', code: 40402 });
}

async function illegal(clients) {
  const topic = await newTopic();
  const producer = await clients.producer(topic);
  const cases = [
    ['tag with a bar', { tag: 'a|b' }, 'BadRequestException', 40004],
    ['tag blank', { tag: ' ' }, 'BadRequestException', 40004],
    ['key blank', { keys: [' '] }, 'BadRequestException', 40005],
    ['key with control character', { keys: ['a\u0000b'] }, 'BadRequestException', 40005],
    ['property reserved', { properties: new Map([['KEYS', 'x']]) }, 'BadRequestException', 40007],
    ['property with control character', { properties: new Map([['a\nb', 'x']]) }, 'BadRequestException', 40007],
    ['topic name', { topic: 'a.b' }, 'BadRequestException', 40002],
    // The SDK does not know this code and calls it unsupported.
    ['body empty', { body: Buffer.alloc(0) }, 'UnsupportedException', 41302],
    ['properties too many bytes', { properties: new Map([['k', 'v'.repeat(16384)]]) },
      'RequestHeaderFieldsTooLargeException', 43101],
  ];
  for (const [what, change, name, code] of cases) {
    await assert.rejects(producer.send(message(topic, 'body', change)), err => {
      assert.deepEqual([what, err.name, err.code], [what, name, code]);
      return true;
    });
  }
  // The SDK compares the body with max_body_size of the settings and sends nothing.
  await assert.rejects(producer.send({ topic, body: Buffer.alloc(bodyMax + 1) }),
    { name: 'TypeError', message: `Message body size exceeds the threshold, max size=${bodyMax} bytes` });
  // The route names what the topic accepts, and the SDK refuses the rest by itself.
  await assert.rejects(producer.send(message(topic, 'ordered', { messageGroup: 'g' })), { name: 'TypeError' });
  await producer.send(message(topic, 'the producer still works'));
}

/** The SDK receives at most 4 MiB in one gRPC message, so a body a little below that arrives. */
async function large(clients) {
  const topic = await newTopic();
  const producer = await clients.producer(topic);
  const consumer = await clients.simple(unique('group'), topic);
  const body = Buffer.alloc(bodyMax - 8192, 'x');
  await producer.send({ topic, body });
  const [m] = await receive(consumer, 60_000);
  assert.ok(m.body.equals(body) && !m.corrupted);
  await consumer.ack(m);
}

/** A handler that takes longer than the lease of 60 s: the server renews it while the client lives. */
async function slow(clients) {
  const topic = await newTopic();
  const producer = await clients.producer(topic);
  const attempts = [];
  await clients.push(unique('group'), topic, '*', async m => {
    attempts.push(m.deliveryAttempt);
    await sleep(70_000);
    return ConsumeResult.SUCCESS;
  });
  await producer.send(message(topic, 'slow'));
  await sleep(80_000);
  assert.deepEqual(attempts, [1]);
}

export function register(suite) {
  suite.add('send one after the other and at once', withClients(send));
  suite.add('simple consumer receives and settles', withClients(simple));
  suite.add('redelivery after the invisible time', withClients(redelivery));
  suite.add('push consumer with a tag filter', withClients(push));
  suite.add('push consumer that fails: dead letter', withClients(pushDeadLetter));
  suite.add('unacknowledged: dead letter', withClients(deadLetter));
  suite.add('unknown topic', withClients(unknownTopic));
  suite.add('illegal messages', withClients(illegal));
  suite.add('large body', withClients(large));
  if (process.env.SLOW === '1') {
    suite.add('push consumer slower than its lease', withClients(slow));
  }
}

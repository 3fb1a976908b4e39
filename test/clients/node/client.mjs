// SPDX-License-Identifier: Apache-2.0

// What the cases share: names, the command line, clients that stop with their case, and waiting.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import rocketmq from 'rocketmq-client-nodejs';

const { ConsumeResult, Producer, PushConsumer, SimpleConsumer } = rocketmq;

export const address = process.env.MANSIO_ADDR;
export const bodyMax = 4 * 1024 * 1024;
const within = 25_000; // ms; the longest a case waits for a message
const quiet = { info() {}, warn() {}, error() {}, debug() {}, close() {} };
const exec = promisify(execFile);
let counter = 0;

export function unique(what) {
  counter += 1;
  return `node-${what}-${process.pid}-${counter}`;
}

export async function command(...args) {
  await exec(process.env.MANSIO, [...args, '--server', address]);
}

export async function newTopic() {
  const name = unique('topic');
  await command('topic', 'create', name, '--type', 'normal');
  return name;
}

export async function newGroup(maxAttempts) {
  const name = unique('group');
  await command('group', 'create', name, '--max-attempts', String(maxAttempts));
  return name;
}

/** Clients made here are stopped when the case ends, however it ends. */
export class Clients {
  #open = [];
  #options;

  constructor(options = {}) {
    this.#options = { endpoints: address, namespace: '', logger: quiet, ...options };
  }

  async producer(...topics) {
    return this.#start(new Producer({ ...this.#options, topics }));
  }

  async simple(group, topic, tags = '*') {
    return this.#start(new SimpleConsumer({
      ...this.#options, consumerGroup: group, subscriptions: new Map([[topic, tags]]), awaitDuration: 2000,
    }));
  }

  /** The stop of a push consumer waits for its long poll, up to 20 s, so nobody waits for it. */
  async push(group, topic, tags, consume) {
    const consumer = new PushConsumer({
      ...this.#options, consumerGroup: group, subscriptions: new Map([[topic, tags]]), messageListener: { consume },
    });
    await consumer.startup();
    return consumer;
  }

  async #start(client) {
    await client.startup();
    this.#open.push(client);
    return client;
  }

  async stop() {
    for (const client of this.#open) {
      await client.shutdown();
    }
  }
}

/** Runs a case with clients of its own. */
export function withClients(run) {
  return async () => {
    const clients = new Clients();
    try {
      await run(clients);
    } finally {
      await clients.stop();
    }
  };
}

/** Receives until at least one message comes. */
export async function receive(consumer, invisible) {
  const limit = Date.now() + within;
  while (Date.now() < limit) {
    const got = await consumer.receive(16, invisible);
    if (got.length > 0) {
      return got;
    }
  }
  throw new Error(`no message within ${within} ms`);
}

export async function nothing(consumer) {
  const got = await consumer.receive(16, 60_000);
  assert.deepEqual(got.map(m => `${m.messageId} attempt ${m.deliveryAttempt}`), []);
}

/** Waits until done() is true. */
export async function until(what, done, limit = within) {
  const end = Date.now() + limit;
  while (!done()) {
    if (Date.now() > end) {
      throw new Error(`not within ${limit} ms: ${what}`);
    }
    await sleep(50);
  }
}

export { assert, ConsumeResult, sleep };

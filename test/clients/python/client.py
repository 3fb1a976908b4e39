# SPDX-License-Identifier: Apache-2.0
"""What the cases share: names, the command line, clients that stop with their case, and waiting."""

import itertools
import os
import subprocess
import threading
import time

from rocketmq import (ClientConfiguration, Credentials, FilterExpression, Message, MessageListener, Producer,
                      PushConsumer, SimpleConsumer)

ADDRESS = os.environ["MANSIO_ADDR"]
BODY_MAX = 4 * 1024 * 1024
WITHIN = 25  # s; the longest a case waits for a message

_numbers = itertools.count(1)


def unique(what):
    return f"python-{what}-{os.getpid()}-{next(_numbers)}"


def command(*args):
    subprocess.run([os.environ["MANSIO"], *args, "--server", ADDRESS], check=True, capture_output=True, timeout=30)


def new_topic():
    name = unique("topic")
    command("topic", "create", name, "--type", "normal")
    return name


def new_group(max_attempts):
    name = unique("group")
    command("group", "create", name, "--max-attempts", str(max_attempts))
    return name


def message(topic, body, tag=None):
    m = Message()
    m.topic = topic
    m.body = body if isinstance(body, bytes) else body.encode()
    if tag:
        m.tag = tag
    return m


class Clients:
    """Makes started clients and stops them at the end of a with statement."""

    def __init__(self, tls=False):
        self._tls = tls
        self._open = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self._open:
            client.shutdown()

    def producer(self, *topics):
        return self._start(Producer(_configuration(), topics, tls_enable=self._tls))

    def simple(self, group, topic, tags="*"):
        return self._start(SimpleConsumer(_configuration(), group, {topic: FilterExpression(tags)}, await_duration=2,
                                          tls_enable=self._tls))

    def push(self, group, topic, tags, consume):
        consumer = PushConsumer(_configuration(), group, _Listener(consume), {topic: FilterExpression(tags)},
                                tls_enable=self._tls)
        return self._start(consumer)

    def _start(self, client):
        client.startup()
        self._open.append(client)
        return client


class _Listener(MessageListener):
    def __init__(self, consume):
        self._consume = consume

    def consume(self, message):
        return self._consume(message)


def _configuration():
    return ClientConfiguration(ADDRESS, Credentials())


def receive(consumer, invisible):
    """Receives until at least one message comes."""
    limit = time.monotonic() + WITHIN
    while time.monotonic() < limit:
        got = consumer.receive(16, invisible)
        if got:
            return got
    raise AssertionError(f"no message within {WITHIN} s")


def nothing(consumer):
    got = consumer.receive(16, 60)
    assert not got, [f"{m.message_id} attempt {m.delivery_attempt}" for m in got]


class Seen:
    """A list that other threads append to."""

    def __init__(self):
        self._items = []
        self._changed = threading.Condition()

    def add(self, item):
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    def wait(self, count, timeout=WITHIN):
        """Returns the items once there are so many, or fails."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._items) >= count, timeout), self._items
            return list(self._items)

    def items(self):
        with self._changed:
            return list(self._items)


def refused(kind, code, call, *args):
    """Wants call(*args) to raise kind with the given code; None: one that the client made up without a code."""
    try:
        call(*args)
    except kind as e:
        assert getattr(e, "code", None) == code, (type(e), e)
        return
    raise AssertionError(f"nothing was raised, want {kind.__name__} {code}")

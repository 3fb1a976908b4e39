# SPDX-License-Identifier: Apache-2.0
"""The cases of the Python SDK over plaintext, its default."""

import time

from rocketmq import ConsumeResult
from rocketmq.v5.exception import BadRequestException, IllegalArgumentException, RequestHeaderFieldsTooLargeException

from client import (BODY_MAX, Clients, Seen, message, new_group, new_topic, nothing, receive, refused, unique)


def send():
    topic = new_topic()
    with Clients() as clients:
        producer = clients.producer(topic)
        consumer = clients.simple(unique("group"), topic)
        want = {producer.send(message(topic, f"sync {i}")).message_id for i in range(5)}
        futures = [producer.send_async(message(topic, f"async {i}")) for i in range(5)]
        want |= {f.result(timeout=10).message_id for f in futures}
        assert len(want) == 10
        while want:
            for m in receive(consumer, 60):
                want.remove(m.message_id)
                consumer.ack(m)


def simple():
    topic = new_topic()
    with Clients() as clients:
        producer = clients.producer(topic)
        consumer = clients.simple(unique("group"), topic, "a")
        producer.send(message(topic, "filtered out", tag="b"))
        sent = message(topic, "hello", tag="a")
        sent.keys = "k1"
        sent.add_property("colour", "blue")
        message_id = producer.send(sent).message_id
        got = receive(consumer, 2)
        assert len(got) == 1, got
        m = got[0]
        assert (m.message_id, m.body, m.tag, m.keys, m.properties) == (
            message_id, b"hello", "a", {"k1"}, {"colour": "blue"}), m
        assert m.delivery_attempt == 1 and not m.corrupted and m.born_timestamp and m.born_host
        # Held for longer than the first lease by the change, then settled.
        consumer.change_invisible_duration(m, 60)
        nothing(consumer)
        consumer.ack(m)
        nothing(consumer)


def redelivery():
    topic = new_topic()
    with Clients() as clients:
        producer = clients.producer(topic)
        consumer = clients.simple(unique("group"), topic)
        message_id = producer.send(message(topic, "again")).message_id
        first = receive(consumer, 1)[0]
        second = receive(consumer, 60)[0]
        assert second.message_id == message_id
        assert (first.delivery_attempt, second.delivery_attempt) == (1, 2)
        refused(BadRequestException, 40013, consumer.ack, first)
        # 0 gives it back at once.
        consumer.change_invisible_duration(second, 0)
        third = receive(consumer, 60)[0]
        assert third.delivery_attempt == 3
        consumer.ack(third)
        nothing(consumer)


def push():
    topic = new_topic()
    seen = Seen()

    def consume(m):
        seen.add(m.body.decode())
        return ConsumeResult.SUCCESS

    with Clients() as clients:
        producer = clients.producer(topic)
        clients.push(unique("group"), topic, "a || b", consume)
        for i, tag in enumerate(["a", "b", "c", None, "a", "b"]):
            producer.send(message(topic, f"{tag}{i}", tag=tag))
        seen.wait(4)
        time.sleep(1)
        assert sorted(seen.items()) == ["a0", "a4", "b1", "b5"], seen.items()


def dead_letter():
    topic, group = new_topic(), new_group(2)
    with Clients() as clients:
        producer = clients.producer(topic)
        consumer = clients.simple(group, topic)
        message_id = producer.send(message(topic, "doomed")).message_id
        for attempt in (1, 2):
            assert receive(consumer, 1)[0].delivery_attempt == attempt
        _expect_dead_letter(clients, group, message_id)
        nothing(consumer)


def push_dead_letter():
    """The SDK gives a failed message back with the delays of the group's policy: 1 s, then 5 s."""
    topic, group = new_topic(), new_group(2)
    attempts = Seen()

    def consume(m):
        attempts.add(m.delivery_attempt)
        return ConsumeResult.FAILURE

    with Clients() as clients:
        producer = clients.producer(topic)
        clients.push(group, topic, "*", consume)
        message_id = producer.send(message(topic, "doomed")).message_id
        _expect_dead_letter(clients, group, message_id)
        assert attempts.items() == [1, 2], attempts.items()


def _expect_dead_letter(clients, group, message_id):
    reader = clients.simple(unique("reader"), f"%DLQ%{group}")
    dead = receive(reader, 60)[0]
    assert (dead.message_id, dead.body) == (message_id, b"doomed"), dead
    reader.ack(dead)


def unknown_topic():
    """A producer starts all the same, since the SDK only logs that there is no route; a push consumer does not.

    The latter waits 10 s for settings, gives up, and its own clean-up then raises the error that the user sees.
    """
    with Clients() as clients:
        producer = clients.producer("no-such-topic")
        try:
            producer.send(message("no-such-topic", "x"))
        except Exception as e:  # the SDK raises just that
            assert "failed to fetch topic:no-such-topic route" in str(e), e
        else:
            raise AssertionError("a message to an unknown topic was accepted")
        refused(AttributeError, None, clients.push, unique("group"), "no-such-topic", "*", lambda m: m)


def illegal():
    topic = new_topic()
    with Clients() as clients:
        producer = clients.producer(topic)
        _refused_by_client(producer, topic)
        _refused_by_server(producer, topic)
        producer.send(message(topic, "the producer still works"))


def _refused_by_client(producer, topic):
    """What the SDK checks before it sends anything."""
    m = message(topic, "x")
    for attribute, value in (("tag", "a|b"), ("tag", " "), ("keys", " "), ("body", b""), ("topic", "a.b")):
        refused(IllegalArgumentException, None, setattr, m, attribute, value)
    refused(IllegalArgumentException, None, m.add_property, " ", "x")
    refused(IllegalArgumentException, None, producer.send, message(topic, bytes(BODY_MAX + 1)))
    ordered = message(topic, "ordered")
    ordered.message_group = "g"
    # The route names what the topic accepts.
    refused(IllegalArgumentException, None, producer.send, ordered)


def _refused_by_server(producer, topic):
    tag, key, reserved, control, large = (message(topic, "x") for _ in range(5))
    tag.tag = "a\nb"
    key.keys = "a\0b"
    reserved.add_property("KEYS", "x")
    control.add_property("a\nb", "x")
    large.add_property("k", "v" * 16384)
    for m, kind, code in (
        (tag, BadRequestException, 40004),
        (key, BadRequestException, 40005),
        (reserved, BadRequestException, 40007),
        (control, BadRequestException, 40007),
        (large, RequestHeaderFieldsTooLargeException, 43101),
    ):
        refused(kind, code, producer.send, m)


def large():
    topic = new_topic()
    body = b"x" * BODY_MAX
    with Clients() as clients:
        producer = clients.producer(topic)
        consumer = clients.simple(unique("group"), topic)
        producer.send(message(topic, body))
        m = receive(consumer, 60)[0]
        assert m.body == body and not m.corrupted
        consumer.ack(m)


def slow():
    """A handler that takes longer than the lease of 60 s: the server renews it while the client lives."""
    topic = new_topic()
    attempts = Seen()

    def consume(m):
        attempts.add(m.delivery_attempt)
        time.sleep(70)
        return ConsumeResult.SUCCESS

    with Clients() as clients:
        producer = clients.producer(topic)
        clients.push(unique("group"), topic, "*", consume)
        producer.send(message(topic, "slow"))
        time.sleep(80)
        assert attempts.items() == [1], attempts.items()

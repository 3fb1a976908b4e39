// SPDX-License-Identifier: Apache-2.0
package io.mansio.test;

import static io.mansio.test.Client.BODY_MAX;
import static io.mansio.test.Client.PROVIDER;
import static io.mansio.test.Client.body;
import static io.mansio.test.Client.check;
import static io.mansio.test.Client.equal;
import static io.mansio.test.Client.message;
import static io.mansio.test.Client.newGroup;
import static io.mansio.test.Client.newTopic;
import static io.mansio.test.Client.nothing;
import static io.mansio.test.Client.receive;
import static io.mansio.test.Client.refused;
import static io.mansio.test.Client.unique;
import static io.mansio.test.Client.until;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.rocketmq.client.apis.consumer.ConsumeResult;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.apis.producer.SendReceipt;

/** The cases of the Java SDK; each runs over TLS, the SDK's default, and over plaintext. */
final class Cases {
    private static final Duration MINUTE = Duration.ofMinutes(1);
    private static final Duration SHORT = Duration.ofSeconds(1);

    private final boolean tls;

    Cases(boolean tls) {
        this.tls = tls;
    }

    private interface Body {
        void run(Client client) throws Exception;
    }

    void register(Suite suite, boolean slow) {
        add(suite, "send sync and async", this::send);
        add(suite, "simple consumer receives and settles", this::simple);
        add(suite, "redelivery after the invisible time", this::redelivery);
        add(suite, "push consumer with a tag filter", this::push);
        add(suite, "push consumer that fails: dead letter", this::pushDeadLetter);
        add(suite, "unacknowledged: dead letter", this::deadLetter);
        add(suite, "unknown topic", this::unknownTopic);
        add(suite, "illegal messages", this::illegal);
        add(suite, "large body", this::large);
        if (slow) {
            add(suite, "push consumer slower than its lease", this::slow);
        }
    }

    private void add(Suite suite, String name, Body body) {
        suite.add((tls ? "TLS: " : "plaintext: ") + name, () -> {
            try (Client client = new Client(tls)) {
                body.run(client);
            }
        });
    }

    private void send(Client client) throws Exception {
        String topic = newTopic();
        Producer producer = client.producer(topic);
        SimpleConsumer consumer = client.simple(unique("group"), topic, "*");
        Set<String> want = new HashSet<>();
        for (int i = 0; i < 5; i++) {
            want.add(producer.send(message(topic, "sync " + i).build()).getMessageId().toString());
        }
        List<CompletableFuture<SendReceipt>> futures = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            futures.add(producer.sendAsync(message(topic, "async " + i).build()));
        }
        for (CompletableFuture<SendReceipt> future : futures) {
            want.add(future.get().getMessageId().toString());
        }
        equal(10, want.size());
        while (!want.isEmpty()) {
            for (MessageView m : receive(consumer, MINUTE)) {
                check(want.remove(m.getMessageId().toString()), "twice or never sent: " + m);
                consumer.ack(m);
            }
        }
    }

    private void simple(Client client) throws Exception {
        String topic = newTopic();
        Producer producer = client.producer(topic);
        SimpleConsumer consumer = client.simple(unique("group"), topic, "a");
        producer.send(message(topic, "filtered out").setTag("b").build());
        SendReceipt receipt = producer.send(message(topic, "hello").setTag("a").setKeys("k1", "k2")
            .addProperty("colour", "blue").build());
        List<MessageView> got = receive(consumer, Duration.ofSeconds(2));
        equal(1, got.size());
        MessageView m = got.get(0);
        equal(receipt.getMessageId().toString(), m.getMessageId().toString());
        equal("hello", body(m));
        equal(Optional.of("a"), m.getTag());
        equal(Set.of("k1", "k2"), new HashSet<>(m.getKeys()));
        equal(Map.of("colour", "blue"), m.getProperties());
        equal(1, m.getDeliveryAttempt());
        check(m.getBornTimestamp() > 0 && !m.getBornHost().isEmpty(), "born " + m);
        // Held for longer than the first lease by the change, then settled.
        consumer.changeInvisibleDuration(m, MINUTE);
        nothing(consumer);
        consumer.ack(m);
        nothing(consumer);
    }

    private void redelivery(Client client) throws Exception {
        String topic = newTopic();
        Producer producer = client.producer(topic);
        SimpleConsumer consumer = client.simple(unique("group"), topic, "*");
        SendReceipt receipt = producer.send(message(topic, "again").build());
        MessageView first = receive(consumer, SHORT).get(0);
        MessageView second = receive(consumer, MINUTE).get(0);
        equal(receipt.getMessageId().toString(), second.getMessageId().toString());
        equal(List.of(1, 2), List.of(first.getDeliveryAttempt(), second.getDeliveryAttempt()));
        refused("BadRequestException", "response-code=40013", () -> consumer.ack(first));
        // 0 gives it back at once.
        consumer.changeInvisibleDuration(second, Duration.ZERO);
        MessageView third = receive(consumer, MINUTE).get(0);
        equal(3, third.getDeliveryAttempt());
        consumer.ack(third);
        nothing(consumer);
    }

    private void push(Client client) throws Exception {
        String topic = newTopic();
        Producer producer = client.producer(topic);
        List<String> seen = new CopyOnWriteArrayList<>();
        client.push(unique("group"), topic, "a || b", m -> {
            seen.add(body(m));
            return ConsumeResult.SUCCESS;
        });
        String[] tags = {"a", "b", "c", null, "a", "b"};
        for (int i = 0; i < tags.length; i++) {
            var builder = message(topic, tags[i] + i);
            producer.send((tags[i] == null ? builder : builder.setTag(tags[i])).build());
        }
        until("four messages", () -> seen.size() >= 4);
        Thread.sleep(1000);
        equal(List.of("a0", "a4", "b1", "b5"), seen.stream().sorted().toList());
    }

    /** The SDK gives a failed message back with the delays of the group's policy. */
    private void pushDeadLetter(Client client) throws Exception {
        String topic = newTopic();
        String group = newGroup(2);
        Producer producer = client.producer(topic);
        List<Integer> attempts = new CopyOnWriteArrayList<>();
        client.push(group, topic, "*", m -> {
            attempts.add(m.getDeliveryAttempt());
            return ConsumeResult.FAILURE;
        });
        SendReceipt receipt = producer.send(message(topic, "doomed").build());
        expectDeadLetter(client, group, receipt);
        equal(List.of(1, 2), attempts);
    }

    private void deadLetter(Client client) throws Exception {
        String topic = newTopic();
        String group = newGroup(2);
        Producer producer = client.producer(topic);
        SimpleConsumer consumer = client.simple(group, topic, "*");
        SendReceipt receipt = producer.send(message(topic, "doomed").build());
        for (int attempt = 1; attempt <= 2; attempt++) {
            equal(attempt, receive(consumer, SHORT).get(0).getDeliveryAttempt());
        }
        expectDeadLetter(client, group, receipt);
        nothing(consumer);
    }

    private static void expectDeadLetter(Client client, String group, SendReceipt receipt) throws Exception {
        SimpleConsumer reader = client.simple(unique("reader"), "%DLQ%" + group, "*");
        MessageView dead = receive(reader, MINUTE).get(0);
        equal(receipt.getMessageId().toString(), dead.getMessageId().toString());
        equal("doomed", body(dead));
        reader.ack(dead);
    }

    private void unknownTopic(Client client) throws Exception {
        refused("NotFoundException", "response-code=40402", () -> client.producer("no-such-topic"));
        refused("NotFoundException", "response-code=40402",
            () -> client.simple(unique("group"), "no-such-topic", "*"));
        Producer producer = client.producer(newTopic());
        refused("NotFoundException", "response-code=40402",
            () -> producer.send(message("no-such-topic", "x").build()));
    }

    private void illegal(Client client) throws Exception {
        String topic = newTopic();
        Producer producer = client.producer(topic);
        refusedByClient(producer, topic);
        refusedByServer(producer, topic);
        producer.send(message(topic, "the producer still works").build());
    }

    /** What the SDK checks before it sends anything. */
    private static void refusedByClient(Producer producer, String topic) {
        refused("IllegalArgumentException", "tag", () -> message(topic, "x").setTag("a|b"));
        refused("IllegalArgumentException", "tag", () -> message(topic, "x").setTag(" "));
        refused("IllegalArgumentException", "key", () -> message(topic, "x").setKeys(" "));
        refused("IllegalArgumentException", "key", () -> message(topic, "x").addProperty(" ", "x"));
        refused("IllegalArgumentException", "topic", () -> message("a.b", "x"));
        refused("IllegalArgumentException", "body", () -> message(topic, ""));
        refused("IOException", "max size=" + BODY_MAX, () -> producer.send(
            PROVIDER.newMessageBuilder().setTopic(topic).setBody(new byte[BODY_MAX + 1]).build()));
        // The route names what the topic accepts.
        refused("IllegalArgumentException", "message type",
            () -> producer.send(message(topic, "ordered").setMessageGroup("g").build()));
    }

    private static void refusedByServer(Producer producer, String topic) {
        refused("BadRequestException", "response-code=40004",
            () -> producer.send(message(topic, "x").setTag("a\nb").build()));
        refused("BadRequestException", "response-code=40005",
            () -> producer.send(message(topic, "x").setKeys("a\u0000b").build()));
        refused("BadRequestException", "response-code=40007",
            () -> producer.send(message(topic, "x").addProperty("KEYS", "x").build()));
        refused("BadRequestException", "response-code=40007",
            () -> producer.send(message(topic, "x").addProperty("a\nb", "x").build()));
        refused("RequestHeaderFieldsTooLargeException", "response-code=43101",
            () -> producer.send(message(topic, "x").addProperty("k", "v".repeat(16384)).build()));
    }

    private void large(Client client) throws Exception {
        String topic = newTopic();
        Producer producer = client.producer(topic);
        SimpleConsumer consumer = client.simple(unique("group"), topic, "*");
        producer.send(PROVIDER.newMessageBuilder().setTopic(topic).setBody(new byte[BODY_MAX]).build());
        MessageView m = receive(consumer, MINUTE).get(0);
        equal(BODY_MAX, m.getBody().remaining());
        consumer.ack(m);
    }

    /** A handler that takes longer than the lease of 60 s: the server renews it while the client lives. */
    private void slow(Client client) throws Exception {
        String topic = newTopic();
        Producer producer = client.producer(topic);
        List<Integer> attempts = new CopyOnWriteArrayList<>();
        client.push(unique("group"), topic, "*", m -> {
            attempts.add(m.getDeliveryAttempt());
            pause(70_000);
            return ConsumeResult.SUCCESS;
        });
        producer.send(message(topic, "slow").build());
        pause(80_000);
        equal(List.of(1), attempts);
    }

    private static void pause(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}

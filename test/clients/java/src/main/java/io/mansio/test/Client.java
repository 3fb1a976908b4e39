// SPDX-License-Identifier: Apache-2.0
package io.mansio.test;

import java.io.Closeable;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.MessageListener;
import org.apache.rocketmq.client.apis.consumer.PushConsumer;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageBuilder;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;

/** What the cases share: names, the command line, clients that stop with their case, and waiting. */
final class Client implements Closeable {
    static final int BODY_MAX = 4 * 1024 * 1024;
    static final ClientServiceProvider PROVIDER = ClientServiceProvider.loadService();
    private static final String ADDRESS = System.getenv("MANSIO_ADDR");
    private static final Duration WITHIN = Duration.ofSeconds(25);
    private static final AtomicInteger COUNTER = new AtomicInteger();

    private final boolean tls;
    private final List<Closeable> open = new ArrayList<>();

    Client(boolean tls) {
        this.tls = tls;
    }

    static String unique(String what) {
        return "java-" + what + "-" + ProcessHandle.current().pid() + "-" + COUNTER.incrementAndGet();
    }

    static void command(String... args) throws IOException, InterruptedException {
        List<String> line = new ArrayList<>(List.of(System.getenv("MANSIO")));
        line.addAll(Arrays.asList(args));
        line.addAll(List.of("--server", ADDRESS));
        Process process = new ProcessBuilder(line).redirectErrorStream(true).start();
        String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (process.waitFor() != 0) {
            throw new IOException(line + ": " + text);
        }
    }

    static String newTopic() throws IOException, InterruptedException {
        String name = unique("topic");
        command("topic", "create", name, "--type", "normal");
        return name;
    }

    static String newGroup(int maxAttempts) throws IOException, InterruptedException {
        String name = unique("group");
        command("group", "create", name, "--max-attempts", Integer.toString(maxAttempts));
        return name;
    }

    static MessageBuilder message(String topic, String body) {
        return PROVIDER.newMessageBuilder().setTopic(topic).setBody(body.getBytes(StandardCharsets.UTF_8));
    }

    static String body(MessageView message) {
        return StandardCharsets.UTF_8.decode(message.getBody()).toString();
    }

    private ClientConfiguration configuration() {
        var builder = ClientConfiguration.newBuilder().setEndpoints(ADDRESS);
        // TLS is what the SDK does unless told otherwise, so it is not told.
        return tls ? builder.build() : builder.enableSsl(false).build();
    }

    Producer producer(String... topics) throws Exception {
        return started(PROVIDER.newProducerBuilder().setClientConfiguration(configuration()).setTopics(topics).build());
    }

    SimpleConsumer simple(String group, String topic, String tags) throws Exception {
        return started(PROVIDER.newSimpleConsumerBuilder().setClientConfiguration(configuration())
            .setConsumerGroup(group).setAwaitDuration(Duration.ofSeconds(2))
            .setSubscriptionExpressions(Map.of(topic, new FilterExpression(tags))).build());
    }

    /** The stop of a push consumer waits for its long poll, up to 20 s, so nobody waits for it. */
    PushConsumer push(String group, String topic, String tags, MessageListener listener) throws Exception {
        return PROVIDER.newPushConsumerBuilder().setClientConfiguration(configuration()).setConsumerGroup(group)
            .setSubscriptionExpressions(Map.of(topic, new FilterExpression(tags))).setMessageListener(listener)
            .build();
    }

    private <C extends Closeable> C started(C client) {
        open.add(client);
        return client;
    }

    @Override
    public void close() throws IOException {
        for (Closeable client : open) {
            client.close();
        }
    }

    /** Receives until at least one message comes. */
    static List<MessageView> receive(SimpleConsumer consumer, Duration invisible) throws Exception {
        long limit = System.nanoTime() + WITHIN.toNanos();
        while (System.nanoTime() < limit) {
            List<MessageView> got = consumer.receive(16, invisible);
            if (!got.isEmpty()) {
                return got;
            }
        }
        throw new AssertionError("no message within " + WITHIN);
    }

    static void nothing(SimpleConsumer consumer) throws Exception {
        List<MessageView> got = consumer.receive(16, Duration.ofMinutes(1));
        check(got.isEmpty(), "unexpected messages " + got);
    }

    static void until(String what, Callable<Boolean> done) throws Exception {
        long limit = System.nanoTime() + WITHIN.toNanos();
        while (!done.call()) {
            check(System.nanoTime() < limit, "not within " + WITHIN + ": " + what);
            Thread.sleep(50);
        }
    }

    static void check(boolean condition, String message) {
        if (!condition) {
            throw new AssertionError(message);
        }
    }

    static void equal(Object want, Object got) {
        check(want.equals(got), "got " + got + ", want " + want);
    }

    /** Wants the call to throw an exception of that class, its own or a cause, whose text holds the given words. */
    static void refused(String className, String words, Suite.Case call) {
        Throwable thrown = null;
        try {
            call.run();
        } catch (Throwable e) {
            thrown = e;
        }
        for (Throwable e = thrown; e != null; e = e.getCause()) {
            if (e.getClass().getSimpleName().equals(className) && String.valueOf(e.getMessage()).contains(words)) {
                return;
            }
        }
        throw new AssertionError("want " + className + " with \"" + words + "\", got " + thrown, thrown);
    }
}

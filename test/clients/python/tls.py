# SPDX-License-Identifier: Apache-2.0
"""One message over TLS.

The SDK verifies the server with the roots of gRPC, which are read when the first channel is made: so this is a process
of its own, started with GRPC_DEFAULT_SSL_ROOTS_FILE_PATH naming the server's certificate.
"""

from client import Clients, message, new_topic, nothing, receive, unique


def main():
    topic = new_topic()
    with Clients(tls=True) as clients:
        producer = clients.producer(topic)
        consumer = clients.simple(unique("group"), topic)
        message_id = producer.send(message(topic, "sealed")).message_id
        m = receive(consumer, 60)[0]
        assert m.message_id == message_id
        consumer.ack(m)
        nothing(consumer)


if __name__ == "__main__":
    main()

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/apache/rocketmq-clients/golang/v5"
	"github.com/apache/rocketmq-clients/golang/v5/credentials"
)

const topic = "orders"

func main() {
	config := &golang.Config{Endpoint: os.Getenv("ENDPOINT"), ConsumerGroup: "billing", Credentials: &credentials.SessionCredentials{}}
	if config.Endpoint == "" {
		config.Endpoint = "127.0.0.1:8081"
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := errors.Join(send(ctx, config), receive(ctx, config)); err != nil {
		log.Fatal(err)
	}
}

func send(ctx context.Context, config *golang.Config) error {
	producer, err := golang.NewProducer(config, golang.WithTopics(topic))
	if err != nil {
		return err
	}
	if err := producer.Start(); err != nil {
		return err
	}
	receipts, err := producer.Send(ctx, &golang.Message{Topic: topic, Body: []byte("hello")})
	if err == nil {
		fmt.Println("sent", receipts[0].MessageID)
	}
	return errors.Join(err, producer.GracefulStop())
}

// receive takes and acknowledges the messages that are there.
func receive(ctx context.Context, config *golang.Config) error {
	consumer, err := golang.NewSimpleConsumer(config, golang.WithSimpleAwaitDuration(5*time.Second),
		golang.WithSimpleSubscriptionExpressions(map[string]*golang.FilterExpression{topic: golang.SUB_ALL}))
	if err != nil {
		return err
	}
	if err := consumer.Start(); err != nil {
		return err
	}
	messages, err := consumer.Receive(ctx, 16, 30*time.Second)
	for _, m := range messages {
		fmt.Println("received", m.GetMessageId(), string(m.GetBody()))
		err = errors.Join(err, consumer.Ack(ctx, m))
	}
	return errors.Join(err, consumer.GracefulStop())
}

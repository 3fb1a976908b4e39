// SPDX-License-Identifier: Apache-2.0

// Package wire moves messages between the public protocol and the stored form
// without building Go objects for them.
//
//	send      SendMessageRequest bytes ──Scan──▶ Message (slices into them)
//	                                    ──Payload──▶ head ‖ sys ‖ rest  (package message)
//	receive   head ‖ sys ‖ rest ──Delivered──▶ Frame: the bytes of a ReceiveMessageResponse
//
// # What a send keeps
//
// rest is copied as it came: user properties, body and fields that this server
// does not know. sys is written anew from the fields of SystemProperties that
// belong to the client, in the order of their numbers, with these changes:
//
//	body_digest      MD5 of the body, upper-case hexadecimal; what came is dropped
//	body_encoding    IDENTITY if unspecified
//	message_type     the type that the message has by its other properties
//	born_timestamp   now if missing or out of range
//	born_host        the client's address if empty
//
// Fields that belong to the server (store_timestamp, store_host, receipt_handle,
// queue_id, queue_offset, invisible_duration, delivery_attempt,
// dead_letter_queue) are dropped: sending a received message again is a fresh
// send. Numbers that this server does not know are kept.
//
// # What a delivery adds
//
//	topic ‖ rest ‖ system_properties { sys ‖ store_timestamp ‖ store_host ‖
//	receipt_handle ‖ queue_id ‖ queue_offset ‖ delivery_attempt }
//
// # Codec
//
// Codec is the gRPC codec of the client port: generated messages as usual, and
// in addition Frame, which is written as it is, and Raw, which is read as it is.
package wire

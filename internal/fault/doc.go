// SPDX-License-Identifier: Apache-2.0

// Package fault is the error type that crosses package edges: an operation, a
// kind from a closed list, and the cause. Kinds survive gRPC (internal/rpc maps
// them to status codes and back); texts are for people and are never compared.
package fault

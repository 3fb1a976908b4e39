// SPDX-License-Identifier: Apache-2.0

// Package names says which names topics, groups and nodes may have. The controller
// asks before it creates anything, the proxy before it asks anybody.
//
//	topic      1 to 127 of letters, digits, % | _ -, and not one of RocketMQ's system topics
//	group      1 to 120 of the same, and not one of RocketMQ's system groups, nor reserved
//	node       1 to 63 of letters, digits, . _ -
//	reserved   what begins with %DLQ% or %RETRY%: the first are topics that are made
//	           together with their group, the second do not exist here
//
// Errors have kind Invalid and say what to do.
package names

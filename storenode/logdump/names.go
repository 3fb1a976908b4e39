// SPDX-License-Identifier: Apache-2.0

package logdump

import (
	"fmt"

	"github.com/mansiomq/mansio/storenode/record"
)

func configName(k record.ConfigKind) string {
	return named(k, map[record.ConfigKind]string{
		record.ConfigTopic: "topic", record.ConfigGroup: "group", record.ConfigStart: "start", record.ConfigFeature: "feature",
		record.ConfigLite: "lite",
	})
}

func startName(k record.StartKind) string {
	return named(k, map[record.StartKind]string{
		record.StartEarliest: "earliest", record.StartLatest: "latest", record.StartTime: "time",
	})
}

func reasonName(r record.Reason) string {
	return named(r, map[record.Reason]string{record.ReasonAttempts: "attempts", record.ReasonClient: "client"})
}

func runName(k record.RunKind) string {
	return named(k, map[record.RunKind]string{record.RunLease: "lease", record.RunSkip: "skip", record.RunPass: "pass"})
}

func verdictName(v record.Verdict) string {
	return named(v, map[record.Verdict]string{
		record.VerdictAck: "ack", record.VerdictExtend: "extend", record.VerdictRelease: "release",
	})
}

func named[K ~uint8](k K, names map[K]string) string {
	if s, ok := names[k]; ok {
		return s
	}
	return fmt.Sprintf("%d", uint8(k))
}

// SPDX-License-Identifier: Apache-2.0

package record

import "fmt"

// Type says what an entry's body is. Numbers are for ever.
type Type uint8

// The types. Those of timers, transactions, tiering and held groups have their
// numbers already; nothing writes them yet.
const (
	TypeTermStart     Type = 1
	TypeSeal          Type = 2
	TypeConfig        Type = 3
	TypeTimeShift     Type = 4
	TypeTrim          Type = 5
	TypeTiered        Type = 6
	TypeSkipEntry     Type = 7
	TypeMessage       Type = 16
	TypeTimer         Type = 17
	TypeHalf          Type = 18
	TypeDeadLetter    Type = 19
	TypeTxnEnd        Type = 20
	TypeTxnChecked    Type = 21
	TypeTimerAdvance  Type = 22
	TypeRecall        Type = 23
	TypeRolledSegment Type = 24
	TypePopGrant      Type = 32
	TypeSettle        Type = 33
	TypeRenew         Type = 34
	TypeOffsetCommit  Type = 35
	TypeGroupReset    Type = 36
	TypeHoldGroup     Type = 37
)

var typeNames = map[Type]string{
	TypeTermStart: "TermStart", TypeSeal: "Seal", TypeConfig: "Config", TypeTimeShift: "TimeShift",
	TypeTrim: "Trim", TypeTiered: "Tiered", TypeSkipEntry: "SkipEntry", TypeMessage: "Message",
	TypeTimer: "Timer", TypeHalf: "Half", TypeDeadLetter: "DeadLetter", TypeTxnEnd: "TxnEnd",
	TypeTxnChecked: "TxnChecked", TypeTimerAdvance: "TimerAdvance", TypeRecall: "Recall",
	TypeRolledSegment: "RolledSegment", TypePopGrant: "PopGrant", TypeSettle: "Settle", TypeRenew: "Renew",
	TypeOffsetCommit: "OffsetCommit", TypeGroupReset: "GroupReset", TypeHoldGroup: "HoldGroup",
}

func (t Type) String() string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Known reports whether the number is assigned.
func (t Type) Known() bool { _, ok := typeNames[t]; return ok }

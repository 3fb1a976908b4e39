// SPDX-License-Identifier: Apache-2.0

package logdump

import (
	"encoding/hex"

	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/storenode/record"
)

// describe draws an entry's body. deep adds lists and bytes, of which only the
// lengths are said otherwise. A body that does not decode is shown as bytes.
func describe(e *record.Entry, deep bool) fields {
	f, err := bodyOf(e, deep)
	if err != nil {
		return append(fields{{"damage", err.Error()}}, opaque("bytes", e.Body, deep)...)
	}
	return f
}

func bodyOf(e *record.Entry, deep bool) (fields, error) {
	switch e.Type {
	case record.TypeTermStart:
		b, err := record.DecodeTermStart(e.Body)
		return termStart(&b), err
	case record.TypeConfig:
		b, err := record.DecodeConfig(e.Body)
		return append(fields{
			{"what", configName(b.Kind)},
			{"id", b.ID},
			{"restore_epoch", b.RestoreEpoch},
			{"revision", b.Revision},
			{"deleted", b.Deleted},
		}, opaque("config", b.Bytes, deep)...), err
	case record.TypeTimeShift:
		b, err := record.DecodeTimeShift(e.Body)
		return fields{{"delta_ms", b.DeltaMS}}, err
	case record.TypeTrim:
		b, err := record.DecodeTrim(e.Body)
		return fields{{"new_start", b.NewStart}}, err
	case record.TypeSkipEntry:
		b, err := record.DecodeSkipEntry(e.Body)
		return fields{{"lsn", b.LSN}}, err
	case record.TypeMessage:
		return payload(e.Body, deep)
	case record.TypeDeadLetter:
		return deadLetter(e.Body, deep)
	case record.TypePopGrant:
		b, err := record.DecodePopGrant(e.Body)
		return popGrant(&b, deep), err
	case record.TypeSettle:
		b, err := record.DecodeSettle(e.Body)
		return list(b.Items, deep, settleItem), err
	case record.TypeRenew:
		b, err := record.DecodeRenew(e.Body)
		return list(b.Items, deep, renewItem), err
	case record.TypeOffsetCommit:
		b, err := record.DecodeOffsetCommit(e.Body)
		return list(b.Items, deep, offsetItem), err
	case record.TypeGroupReset:
		b, err := record.DecodeGroupReset(e.Body)
		return fields{
			{"group", b.Group}, {"topic", b.Topic}, {"generation", b.Generation}, {"start", startName(b.Kind)}, {"time_ms", b.TimeMS},
		}, err
	default:
		return opaque("bytes", e.Body, deep), nil
	}
}

func opaque(name string, b []byte, deep bool) fields {
	if deep {
		return fields{{name, hex.EncodeToString(b)}}
	}
	if len(b) == 0 {
		return nil
	}
	return fields{{name + "_len", len(b)}}
}

// list draws the items of a body, or how many there are.
func list[T any](items []T, deep bool, one func(*T) fields) fields {
	if !deep {
		return fields{{"items_len", len(items)}}
	}
	out := make([]fields, len(items))
	for i := range items {
		out[i] = one(&items[i])
	}
	return fields{{"items", out}}
}

func termStart(b *record.TermStart) fields {
	in := make([]fields, len(b.InSync))
	for i, r := range b.InSync {
		in[i] = fields{{"node", r.Node}, {"incarnation", r.Incarnation}}
	}
	return fields{{"prev_end", b.PrevEnd}, {"unclean", b.Unclean}, {"in_sync", in}}
}

func payload(body []byte, deep bool) (fields, error) {
	p, err := message.Parse(body)
	if err != nil {
		return nil, err
	}
	f := fields{
		{"topic", p.Topic()},
		{"queue", p.Queue()},
		{"proxy", hash64(p.Proxy())},
		{"seq", p.Seq()},
		{"id_hash", hash64(p.IDHash())},
		{"born_ms", p.BornMS()},
	}
	if h := p.TagHash(); h != 0 {
		f = append(f, field{"tag_hash", hash32(h)})
	}
	if h := p.GroupHash(); h != 0 {
		f = append(f, field{"group_hash", hash64(h)})
	}
	keys := make([]fields, p.Keys())
	for i := range keys {
		keys[i] = fields{{"hash", hash32(p.Key(i))}}
	}
	f = append(f, field{"keys", keys})
	f = append(f, opaque("sys", p.Sys(), deep)...)
	return append(f, opaque("rest", p.Rest(), deep)...), nil
}

func deadLetter(body []byte, deep bool) (fields, error) {
	b, err := record.DecodeDeadLetter(body)
	if err != nil {
		return nil, err
	}
	copied, err := payload(b.Payload, deep)
	return fields{
		{"group", b.Group},
		{"topic", b.Topic},
		{"generation", b.Generation},
		{"queue", b.Queue},
		{"offset", b.Offset},
		{"grant", b.Grant},
		{"reason", reasonName(b.Reason)},
		{"copy", copied},
	}, err
}

func popGrant(b *record.PopGrant, deep bool) fields {
	f := fields{
		{"group", b.Group},
		{"topic", b.Topic},
		{"generation", b.Generation},
		{"invisible_ms", b.InvisibleMS},
		{"owner", b.Owner},
		{"attempt_hash", hash64(b.AttemptHash)},
		{"fifo", b.FIFO},
	}
	return append(f, list(b.Items, deep, func(it *record.GrantItem) fields {
		runs := make([]fields, len(it.Runs))
		for i, r := range it.Runs {
			runs[i] = fields{{"kind", runName(r.Kind)}, {"count", r.Count}}
			if b.FIFO && r.Kind == record.RunLease {
				runs[i] = append(runs[i], field{"group_hash", hash64(r.GroupHash)}, field{"after", r.After})
			}
		}
		return fields{{"queue", it.Queue}, {"first", it.First}, {"runs", runs}}
	})...)
}

func settleItem(it *record.SettleItem) fields {
	f := fields{
		{"group", it.Group},
		{"topic", it.Topic},
		{"generation", it.Generation},
		{"queue", it.Queue},
		{"offset", it.Offset},
		{"term", it.Term},
		{"grant", it.Grant},
		{"verdict", verdictName(it.Verdict)},
	}
	if it.Verdict != record.VerdictAck {
		f = append(f, field{"ms", it.MS})
	}
	if it.NoCount {
		f = append(f, field{"no_count", true})
	}
	return f
}

func renewItem(it *record.RenewItem) fields {
	return fields{{"group", it.Group}, {"topic", it.Topic}, {"owner", it.Owner}, {"ttl_ms", it.TTLMS}, {"terminated", it.Terminated}}
}

func offsetItem(it *record.OffsetItem) fields {
	return fields{
		{"group", it.Group}, {"topic", it.Topic}, {"generation", it.Generation}, {"queue", it.Queue}, {"offset", it.Offset},
	}
}

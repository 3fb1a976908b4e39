// SPDX-License-Identifier: Apache-2.0

package logdump

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/commitlog"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

// Options choose what is printed.
type Options struct {
	From ident.LSN   // entries at or behind it; 0 = all
	To   ident.LSN   // entries before it; 0 = all
	Type record.Type // only this type; 0 = all
	JSON bool        // for programs
	// Bodies prints lists and bytes, messages included, not only their lengths.
	Bodies bool
}

// Dump prints the log in the folder to w. What is damaged is part of the output,
// not an error. fault.NotFound: dir holds no log; fault.Incompatible: it is of a
// newer format; else only failures of w and the end of ctx end a dump early.
func Dump(ctx context.Context, w io.Writer, fs disk.FS, dir string, o Options) error {
	in, err := commitlog.Inspect(fs, dir)
	if err != nil {
		return err
	}
	d := &dumper{o: o, w: bufio.NewWriter(w), headers: in.Headers()}
	err = in.Scan(ctx, o.From, o.To, d.entry, d.gap)
	if err == nil {
		err = d.segmentsUpTo(o.To - 1) // none behind it, all if it is 0
	}
	return errors.Join(err, d.w.Flush(), in.Close())
}

type dumper struct {
	o       Options
	w       *bufio.Writer
	headers []commitlog.Header // not printed yet
}

// segmentsUpTo prints the headers of the segments that begin at lsn or before.
func (d *dumper) segmentsUpTo(lsn ident.LSN) error {
	for len(d.headers) > 0 && d.headers[0].Base <= lsn {
		h := d.headers[0]
		d.headers = d.headers[1:]
		f := fields{{"base", h.Base}}
		if h.Damage != nil {
			f = append(f, field{"damage", h.Damage.Error()})
		} else {
			f = append(f, fields{
				{"format", commitlog.FormatVersion},
				{"cluster", hash64(h.Cluster)},
				{"shard", h.Shard},
				{"capacity", h.Capacity},
				{"spare", h.Spare},
				{"prev_crc", hash32(h.Before.CRC)},
				{"prev_term", h.Before.Term},
				{"terms", terms(h.Before.Terms)},
			}...)
		}
		if err := d.line("segment", f, "segment "+f.String()); err != nil {
			return err
		}
	}
	return nil
}

func terms(list []commitlog.TermStart) []fields {
	out := make([]fields, len(list))
	for i, t := range list {
		out[i] = fields{{"term", t.Term}, {"start", t.Start}}
	}
	return out
}

func (d *dumper) entry(e *record.Entry) error {
	if err := d.segmentsUpTo(e.LSN); err != nil {
		return err
	}
	if d.o.Type != 0 && e.Type != d.o.Type {
		return nil
	}
	body := describe(e, d.o.Bodies)
	at := time.UnixMilli(e.TimeMS).UTC().Format("2006-01-02T15:04:05.000Z")
	text := fmt.Sprintf("%12d term %d %s %v %d %s", e.LSN, e.Term, at, e.Type, e.Len, body)
	return d.line("entry", fields{
		{"lsn", e.LSN},
		{"type", e.Type.String()},
		{"version", e.Version},
		{"len", e.Len},
		{"term", e.Term},
		{"time", at},
		{"time_ms", e.TimeMS},
		{"commit", e.Commit()},
		{"prev_crc", hash32(e.PrevCRC)},
		{"crc", hash32(e.CRC)},
		{"body", body},
	}, text)
}

func (d *dumper) gap(g commitlog.Gap) error {
	if err := d.segmentsUpTo(g.From); err != nil {
		return err
	}
	if g.Empty && g.To == 0 {
		const reason = "empty prepared blocks"
		return d.line("gap", fields{{"from", g.From}, {"reason", reason}}, fmt.Sprintf("-- the log ends at %d (%s)", g.From, reason))
	}
	f := fields{{"from", g.From}, {"reason", g.Err.Error()}}
	if g.To == 0 {
		return d.line("gap", f, fmt.Sprintf("-- the log ends at %d: %v", g.From, g.Err))
	}
	f = append(f, field{"to", g.To})
	if g.To == g.From {
		return d.line("gap", f, fmt.Sprintf("-- the chain breaks at %d: %v", g.From, g.Err))
	}
	return d.line("gap", f, fmt.Sprintf("-- [%d, %d) is no entry: %v", g.From, g.To, g.Err))
}

// line prints one line: the fields as JSON, or the text.
func (d *dumper) line(kind string, f fields, text string) error {
	if !d.o.JSON {
		_, err := fmt.Fprintln(d.w, strings.TrimRight(text, " "))
		return err
	}
	b, err := json.Marshal(append(fields{{"kind", kind}}, f...))
	if err != nil {
		return err
	}
	_, err = d.w.Write(append(b, '\n'))
	return err
}

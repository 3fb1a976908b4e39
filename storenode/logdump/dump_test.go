// SPDX-License-Identifier: Apache-2.0

package logdump

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/record"
)

const dir = "/shard"

// golden loads the golden log of package commitlog.
func golden(t *testing.T) *disk.Memory {
	t.Helper()
	m := disk.NewMemory()
	if err := m.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join("..", "commitlog", "testdata", "v1", "*.log"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := disk.Replace(m, filepath.Join(dir, filepath.Base(p)), b); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func dump(t *testing.T, m *disk.Memory, o Options) string {
	t.Helper()
	var b strings.Builder
	writes := m.Calls(disk.OpWrite)
	if err := Dump(t.Context(), &b, m, dir, o); err != nil {
		return err.Error() + "\n"
	}
	if m.Calls(disk.OpWrite) != writes {
		t.Error("a dump wrote to the disk")
	}
	return b.String()
}

// The golden log, as it is printed, whole and damaged:
//
//	dump [from=L] [to=L] [type=N] [json] [bodies]
//	flip file=NAME at=N    a byte
//	write file=NAME at=N bytes=N [value=N]
//	remove file=NAME
func TestDump(t *testing.T) {
	m := golden(t)
	datadriven.RunTest(t, "testdata/dump", func(t *testing.T, d *datadriven.TestData) string {
		var name string
		d.MaybeScanArgs(t, "file", &name)
		name = filepath.Join(dir, name)
		switch d.Cmd {
		case "dump":
			var from, to uint64
			var typ int
			d.MaybeScanArgs(t, "from", &from)
			d.MaybeScanArgs(t, "to", &to)
			d.MaybeScanArgs(t, "type", &typ)
			return dump(t, m, Options{
				From: ident.LSN(from), To: ident.LSN(to), Type: record.Type(typ), JSON: d.HasArg("json"), Bodies: d.HasArg("bodies"),
			})
		case "flip":
			var at int64
			d.ScanArgs(t, "at", &at)
			b := readAt(t, m, name, at)
			writeAt(t, m, name, at, []byte{^b})
		case "write":
			var at int64
			var n, value int
			d.ScanArgs(t, "at", &at)
			d.ScanArgs(t, "bytes", &n)
			d.MaybeScanArgs(t, "value", &value)
			writeAt(t, m, name, at, bytes.Repeat([]byte{byte(value)}, n))
		case "remove":
			if err := m.Remove(name); err != nil {
				t.Fatal(err)
			}
		default:
			d.Fatalf(t, "unknown command %s", d.Cmd)
		}
		return ""
	})
}

func readAt(t *testing.T, m *disk.Memory, name string, at int64) byte {
	t.Helper()
	b, err := disk.ReadFile(m, name)
	if err != nil {
		t.Fatal(err)
	}
	return b[at]
}

func writeAt(t *testing.T, m *disk.Memory, name string, at int64, b []byte) {
	t.Helper()
	f, err := m.Open(name, disk.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// Every line for programs is an object with a kind, and every entry is there.
func TestJSONLines(t *testing.T) {
	kinds := map[string]int{}
	types := map[string]bool{}
	for line := range strings.Lines(dump(t, golden(t), Options{JSON: true, Bodies: true})) {
		var x struct {
			Kind string         `json:"kind"`
			Type string         `json:"type"`
			LSN  *uint64        `json:"lsn"`
			Body map[string]any `json:"body"`
		}
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		kinds[x.Kind]++
		types[x.Type] = true
		if x.Kind == "entry" && (x.LSN == nil || x.Body == nil || x.Body["damage"] != nil) {
			t.Errorf("entry without LSN or body: %s", line)
		}
	}
	if kinds["segment"] != 2 || kinds["entry"] != 16 || kinds["gap"] != 1 || len(kinds) != 3 {
		t.Errorf("kinds %v", kinds)
	}
	for _, typ := range []string{"TermStart", "Message", "PopGrant", "Settle", "DeadLetter", "Seal"} {
		if !types[typ] {
			t.Errorf("no %s", typ)
		}
	}
}

func TestNoLog(t *testing.T) {
	m := disk.NewMemory()
	var b strings.Builder
	for range 2 { // absent, then empty
		if err := Dump(t.Context(), &b, m, dir, Options{}); !fault.Is(err, fault.NotFound) {
			t.Errorf("%v", err)
		}
		if err := m.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

type fullWriter struct{}

var errFull = errors.New("full")

func (fullWriter) Write([]byte) (int, error) { return 0, errFull }

func TestWriterFails(t *testing.T) {
	if err := Dump(t.Context(), fullWriter{}, golden(t), dir, Options{}); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
}

// A body that does not decode is shown as bytes.
func TestDamagedBody(t *testing.T) {
	for _, typ := range []record.Type{record.TypeMessage, record.TypeDeadLetter, record.TypeTrim, record.TypePopGrant} {
		e := record.Entry{Header: record.Header{Type: typ}, Body: []byte{0xFF}}
		f := describe(&e, true)
		if f[0].name != "damage" || f[1] != (field{"bytes", "ff"}) {
			t.Errorf("%v: %v", typ, f)
		}
	}
	e := record.Entry{Header: record.Header{Type: record.TypeTimer}, Body: []byte{1, 2}}
	if got := describe(&e, false).String(); got != "bytes_len=2" {
		t.Errorf("a type that is not decoded: %s", got)
	}
}

// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Bodies of version 1 stay as they are for ever: what is written today equals
// the golden file, and the golden file decodes to what it meant. New samples are
// written by running with MANSIO_GOLDEN=new, which touches no existing file.
func TestGoldenBodies(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range samples() {
		name := s.name + ".hex"
		seen[name] = true
		path := filepath.Join("testdata", "v1", name)
		if _, err := os.Stat(path); err != nil && os.Getenv("MANSIO_GOLDEN") == "new" {
			if err := os.WriteFile(path, []byte(hex.EncodeToString(s.bytes())+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		golden, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.bytes(); !bytes.Equal(got, golden) {
			t.Errorf("%s is now encoded as\n%x, was\n%x", s.name, got, golden)
		}
		if s.body == nil {
			continue
		}
		got, err := codecFor(s.typ).decode(golden)
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		if diff := cmp.Diff(s.body, got); diff != "" {
			t.Errorf("%s decodes to something else: %s", s.name, diff)
		}
	}
	files, err := os.ReadDir(filepath.Join("testdata", "v1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !seen[f.Name()] {
			t.Errorf("nothing checks %s", f.Name())
		}
	}
}

// Every codec has a sample, and every type that has a name is of a known size.
func TestSamplesCoverCodecs(t *testing.T) {
	have := map[Type]bool{}
	for _, s := range samples() {
		have[s.typ] = true
	}
	for _, c := range codecs {
		if !have[c.typ] {
			t.Errorf("no sample of %v", c.typ)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestExample builds and runs the program that the README shows to new users.
func TestExample(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	program := filepath.Join(t.TempDir(), "example")
	if out, err := exec.CommandContext(ctx, "go", "build", "-C", "../../../docs/examples/go", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	command(t, "topic", "create", "orders", "--server", shared.Addr)
	c := exec.CommandContext(ctx, program)
	c.Env = append(os.Environ(), "ENDPOINT="+shared.Addr)
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "sent ") || !strings.Contains(string(out), " hello\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

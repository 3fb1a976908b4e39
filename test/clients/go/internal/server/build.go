// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Binary returns the path of the mansio binary: $MANSIO if set, else one built from the main module into dir.
func Binary(ctx context.Context, dir string) (string, error) {
	if bin := os.Getenv("MANSIO"); bin != "" {
		return filepath.Abs(bin)
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "mansio")
	build := exec.CommandContext(ctx, "go", "build", "-o", out, "./cmd/mansio")
	build.Dir = root
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/mansio: %w\n%s", err, text)
	}
	return out, nil
}

// Root returns the folder of the main module: the nearest one above the working directory that holds proto/.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "proto", "apache", "rocketmq", "v2")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no folder with proto/apache/rocketmq/v2 above the working directory")
		}
		dir = up
	}
}

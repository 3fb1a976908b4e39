#!/usr/bin/env bash
# Runs the Go suite: the official SDK and the raw client. MANSIO: path of the binary (default: built from the main module).
set -euo pipefail
cd "$(dirname "$0")"
export MANSIO_KILLS="${MANSIO_KILLS:-10}"
exec go test -count=1 -timeout 15m ./...

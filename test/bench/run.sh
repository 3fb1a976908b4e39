#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Measures Mansio against its goals and prints one table (see doc.go). MANSIO names
# the binary; without it one is built. Arguments go to the program: `-only split`,
# `-quick`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
if [[ -z ${MANSIO:-} ]]; then
  MANSIO=$out/mansio
  CGO_ENABLED=0 go build -trimpath -o "$MANSIO" ./cmd/mansio
fi
go build -o "$out/bench" ./test/bench
"$out/bench" -bin "$MANSIO" "$@"

#!/usr/bin/env bash
# Runs the Node.js suite against a server of its own. MANSIO: path of the binary (default: built from the main module).
# SLOW=1: also the case that outlives a lease of 60 s.
set -euo pipefail
cd "$(dirname "$0")"
. ../lib.sh
build
if ! cmp -s package-lock.json node_modules/.installed-lock.json; then
  npm ci --ignore-scripts --no-progress --silent
  cp package-lock.json node_modules/.installed-lock.json
fi
serve
# The SDK writes a log below the home folder even when it is given a logger.
HOME=$mansio_dir timeout 300 node main.mjs

#!/usr/bin/env bash
# Runs the Python suite against a server of its own. MANSIO: path of the binary (default: built from the main module).
# SLOW=1: also the case that outlives a lease of 60 s.
set -euo pipefail
cd "$(dirname "$0")"
. ../lib.sh
build
if ! cmp -s requirements.txt .venv/requirements.txt; then
  rm -rf .venv
  python3 -m venv .venv
  .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
  cp requirements.txt .venv/requirements.txt
fi
serve
# The SDK writes a log below the home folder.
mkdir -p "$mansio_dir/logs/rocketmq_python"
HOME=$mansio_dir PYTHONDONTWRITEBYTECODE=1 timeout 300 .venv/bin/python main.py

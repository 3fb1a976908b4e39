#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fills the disk under a standalone to the last byte, and checks what still works, what is refused and how, that
# everything goes on when there is space, and how a start and a stop go meanwhile. Needs root, for the small disk.
# MANSIO names the binary; without it one is built.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../clients/lib.sh"
build
disk=$mansio_dir/disk
mkdir "$disk"
mount -t tmpfs -o size=260m tmpfs "$disk"
trap 'umount --lazy "$disk"; stop' EXIT
client=127.0.0.1:$(free_port)
http=127.0.0.1:$(free_port)
log=$mansio_dir/log

fail() {
  echo "FAIL: $*"
  cat "$log"
  exit 1
}
mansio() { timeout 20 "$MANSIO" "$@" --server "$client"; }
# It ends with an error: that the disk is full.
fill() { dd if=/dev/zero of="$disk/fill$1" bs=4k status=none 2>/dev/null || true; }
# refused WHAT COMMAND: it fails in one line that names the folder.
refused() {
  local what=$1 said
  shift
  said=$("$@" 2>&1) && fail "$what was not refused"
  [[ $said == *"the disk of $disk/data/etcd is full: "* && $(wc -l <<<"$said") == 1 ]] || fail "$what: $said"
}
# got MESSAGE GROUP: the group receives and acknowledges it.
got() {
  local said
  said=$(mansio receive known --group "$2" --ack 2>&1) || fail "$2 can't receive: $said"
  [[ $said == *" $1" || $said == *" $1"$'\n'* ]] || fail "$2 did not get $1: $said"
}
begin() {
  "$MANSIO" standalone --data "$disk/data" --listen "$client" --http-listen "$http" --min-free-disk 30MiB --segment-size 8MiB \
    >>"$log" 2>&1 &
  mansio_pid=$!
  for _ in $(seq 300); do
    ready "${http#*:}" 2>/dev/null && return
    kill -0 "$mansio_pid" 2>/dev/null || return 0
    sleep 0.1
  done
  fail "it is not ready"
}
alive() { kill -0 "$mansio_pid" 2>/dev/null && ready "${http#*:}" || fail "it is not alive"; }

begin
alive
for topic in known gone; do mansio topic create "$topic" >/dev/null; done
mansio send known first >/dev/null
got first old
mansio send known hello >/dev/null

fill 1
refused "a new topic" mansio topic create new
refused "a new group" mansio receive known --group new --ack
got hello old
mansio topic delete gone --yes >/dev/null || fail "a topic could not be deleted"
alive
began=$SECONDS
while said=$(mansio send known more 2>&1); do # the store looks once a second, and has blocks ahead
  ((SECONDS - began < 10)) || fail "a message was not refused"
  sleep 0.2
done
[[ $said == *"short of disk space"* ]] || fail "a message: $said"

rm "$disk"/fill*
began=$SECONDS
until mansio topic create new >/dev/null 2>&1 && mansio send known again >/dev/null 2>&1; do
  ((SECONDS - began < 10)) || fail "nothing is written although there is space"
  sleep 0.2
done
got hello new

fill 2
began=$SECONDS
kill "$mansio_pid"
wait "$mansio_pid" || fail "a stop failed"
((SECONDS - began <= 10)) || fail "a stop took $((SECONDS - began)) s"

fill 3
: >"$log"
begin
wait "$mansio_pid" && fail "it starts on a full disk"
grep -q "^mansio: .* the disk of $disk/data/etcd is full: 0 bytes are free, [0-9]* are needed: make space and start again\$" "$log" ||
  fail "a start says something else"
[[ $(grep -c '^mansio: ' "$log") == 1 ]] || fail "a start says more than one line"

rm "$disk"/fill*
begin
alive
got again old
echo "a full disk: ok"

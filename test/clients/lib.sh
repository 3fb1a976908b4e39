# Functions that the run.sh of each suite sources: build mansio, run one standalone, stop it by its process id.
#
# serve starts the server on free loopback ports with its data in a temporary folder and exports
#   MANSIO       the binary, for the command line
#   MANSIO_ADDR  the client address, host:port
#   MANSIO_DATA  the data folder; its tls/ holds the server's certificate

mansio_pid=
mansio_dir=

# build exports MANSIO: what the caller set, else a binary built from the main module into the temporary folder.
build() {
  mansio_dir=$(mktemp -d)
  trap stop EXIT
  if [[ -z ${MANSIO:-} ]]; then
    (cd "$(dirname "${BASH_SOURCE[0]}")/../.." && go build -o "$mansio_dir/mansio" ./cmd/mansio)
    MANSIO=$mansio_dir/mansio
  fi
  export MANSIO
}

# free_port prints a loopback port on which nobody listens.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 30000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

# ready tells whether /readyz of the port answers 200.
ready() {
  local line
  exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
  printf 'GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
  read -r line <&3 || true
  exec 3>&-
  [[ $line == *' 200 '* ]]
}

# serve starts the server and waits until it is ready; topics are not created by asking for them.
serve() {
  local port http
  port=$(free_port)
  http=$(free_port)
  export MANSIO_ADDR=127.0.0.1:$port MANSIO_DATA=$mansio_dir/data
  "$MANSIO" standalone --data "$MANSIO_DATA" --listen "$MANSIO_ADDR" --http-listen "127.0.0.1:$http" \
    --auto-create-topics=false >"$mansio_dir/server.log" 2>&1 &
  mansio_pid=$!
  for _ in $(seq 200); do
    if ready "$http" 2>/dev/null; then return; fi
    if ! kill -0 "$mansio_pid" 2>/dev/null; then break; fi
    sleep 0.1
  done
  echo "the server did not become ready:" >&2
  tail -n 20 "$mansio_dir/server.log" >&2
  return 1
}

# stop ends the server: SIGTERM, and SIGKILL when it has not ended after 12 s.
stop() {
  if [[ -n $mansio_pid ]]; then
    kill -TERM "$mansio_pid" 2>/dev/null || true
    for _ in $(seq 120); do
      kill -0 "$mansio_pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "$mansio_pid" 2>/dev/null || true
    wait "$mansio_pid" 2>/dev/null || true
    mansio_pid=
  fi
  [[ -n $mansio_dir ]] && rm -rf "$mansio_dir"
  return 0
}

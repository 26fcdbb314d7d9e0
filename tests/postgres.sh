# A PostgreSQL cluster of our own in a folder, to be sourced: start_postgres DIR (sets postgres_url), stop_postgres DIR.

postgres_user=postgres
id postgres >/dev/null 2>&1 || postgres_user=nobody

# PostgreSQL does not run as root.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then (cd / && runuser -u "$postgres_user" -- "$@"); else "$@"; fi
}

find_postgres() {
  local folder
  for folder in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -Vr) "$(pg_config --bindir 2>/dev/null || true)"; do
    if [ -n "$folder" ] && [ -x "$folder/initdb" ] && [ -x "$folder/pg_ctl" ]; then echo "$folder" && return 0; fi
  done
}

# A port that nobody listens on at the moment.
# A port below those that outgoing connections take.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

# Fails when there is no PostgreSQL on this machine. Durable: fsync and synchronous_commit are on.
start_postgres() {
  local bin port data=$1/postgres
  bin=$(find_postgres)
  [ -n "$bin" ] || return 1
  mkdir "$data"
  [ "$(id -u)" != 0 ] || chown "$postgres_user" "$data"
  port=$(free_port)
  as_postgres "$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 >"$1/initdb.log" 2>&1 ||
    { cat "$1/initdb.log"; exit 1; }
  as_postgres "$bin/pg_ctl" -D "$data" -w -l "$data/log" \
    -o "-c listen_addresses=127.0.0.1 -c port=$port -c max_connections=300 -c unix_socket_directories=$data -c fsync=on -c synchronous_commit=on" \
    start >/dev/null || { cat "$data/log"; exit 1; }
  postgres_url="postgres://postgres@127.0.0.1:$port/postgres"
}

stop_postgres() {
  local bin
  if [ -f "$1/postgres/postmaster.pid" ]; then
    bin=$(find_postgres)
    as_postgres "$bin/pg_ctl" -D "$1/postgres" -m immediate -w stop >/dev/null 2>&1 || true
  fi
}

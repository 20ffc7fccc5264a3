#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The example servers, asked by clients that others have written, and ended by SIGTERM.
# test: timeout=120
. "$(dirname "$0")/../script.sh"

# start NAME: runs the server at a free port; $pid, $address and $port.
start() {
    "$build/examples/$1" 127.0.0.1:0 >"$work/$1.out" 2>&1 &
    pid=$!
    address=
    for _ in $(seq 100); do
        address=$(sed -n 's/^listening on //p' "$work/$1.out")
        [ -n "$address" ] && break
        sleep 0.05
    done
    port=${address##*:}
}

# stop NAME: on SIGTERM it says good-bye and ends with 0, also with a client connected.
stop() {
    local idle
    exec {idle}<>"/dev/tcp/127.0.0.1/$port"
    kill -TERM "$pid"
    wait "$pid"
    local status=$?
    exec {idle}>&-
    if [ $status -eq 0 ] && grep -qx bye "$work/$1.out"; then
        ok "$1 ends on SIGTERM"
    else
        fail "$1 ends on SIGTERM" "status $status; $(cat "$work/$1.out")"
    fi
}

same() { # NAME EXPECTED ACTUAL
    if [ "$2" = "$3" ]; then ok "$1"; else fail "$1" "expected '$2', got '$3'"; fi
}

has() {
    command -v "$1" >/dev/null 2>&1
}

start echo_server
if has nc; then
    same "nc and echo_server" "$(printf 'one\ntwo')" "$(printf 'one\ntwo\n' | timeout 20 nc -q 1 127.0.0.1 "$port")"
else
    skip "nc and echo_server" "no nc"
fi
stop echo_server

start http_hello
if has curl; then
    same "curl and http_hello" "Hello, world!" "$(timeout 20 curl -s "http://$address/")"
    same "curl, two requests, one connection" "1 0 " \
        "$(timeout 20 curl -s -o /dev/null -o /dev/null -w '%{num_connects} ' "http://$address/a" "http://$address/b")"
    same "curl -I" "14" "$(timeout 20 curl -sI "http://$address/" | tr -d '\r' | sed -n 's/^Content-Length: //p')"
    same "curl with a body" "Hello, world!" "$(head -c 100000 /dev/zero | timeout 20 curl -s --data-binary @- -H 'Expect:' "http://$address/")"
    same "curl -0" "Hello, world!" "$(timeout 20 curl -s -0 "http://$address/")"
else
    skip "curl and http_hello" "no curl"
fi
if has wrk; then
    output=$(timeout 30 wrk -t 1 -c 50 -d 1 "http://$address/" 2>&1)
    if grep -q 'Requests/sec: *[1-9]' <<<"$output" && ! grep -Eq 'Non-2xx|Socket errors' <<<"$output"; then
        ok "wrk and http_hello"
    else
        fail "wrk and http_hello" "$output"
    fi
else
    skip "wrk and http_hello" "no wrk"
fi
stop http_hello

start redis_server
if has redis-cli; then
    cli() {
        timeout 20 redis-cli -p "$port" "$@"
    }
    same "redis-cli PING" PONG "$(cli ping)"
    same "redis-cli SET" OK "$(cli set key 'a value')"
    same "redis-cli GET" "a value" "$(cli get key)"
    same "redis-cli INCR" 1 "$(cli incr n)"
    same "redis-cli INCR again" 2 "$(cli incr n)"
    same "redis-cli of another type" "WRONGTYPE Operation against a key holding the wrong kind of value" "$(cli lpush key x 2>&1 | sed 's/^(error) //')"
    same "redis-cli lists" "$(printf 'c\na\nb')" "$(cli rpush l a b >/dev/null; cli lpush l c >/dev/null; cli lrange l 0 -1)"
    same "redis-cli sorted sets" "$(printf 'low\n1')" "$(cli zadd z 2 high 1 low >/dev/null; cli zpopmin z)"
else
    skip "redis-cli and redis_server" "no redis-cli"
fi
if has redis-benchmark; then
    output=$(timeout 60 redis-benchmark -p "$port" -q -n 1000 2>&1 | tr '\r' '\n' | grep -v '^WARNING')
    n=$(grep -c 'requests per second' <<<"$output")
    if [ "$n" -ge 18 ] && ! grep -qi 'error' <<<"$output"; then
        ok "redis-benchmark and redis_server"
    else
        fail "redis-benchmark and redis_server" "$output"
    fi
    output=$(timeout 60 redis-benchmark -p "$port" -q -n 20000 -P 32 -t get,set 2>&1)
    if grep -qi error <<<"$output"; then fail "redis-benchmark, pipelined" "$output"; else ok "redis-benchmark, pipelined"; fi
else
    skip "redis-benchmark and redis_server" "no redis-benchmark"
fi
stop redis_server

finish

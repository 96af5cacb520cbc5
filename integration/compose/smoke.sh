#!/usr/bin/env bash
# Sends requests through what docker-compose.yml has brought up and counts:
# inside its network and from this machine, new ones, the same again, a bad one.
#
#   integration/compose/smoke.sh        (COMPOSE="docker compose", REQUESTS=40)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

read -ra compose <<<"${COMPOSE:-docker compose}"
requests=${REQUESTS:-40}
service=VA00000000000000000000000000000001
identity=customer-0001
run=smoke-$(date +%s)-$$
passed=0

fail() { echo "compose smoke: $*" >&2; exit 1; }
pass() { passed=$((passed + 1)); echo "ok  $*"; }

# countersign as the connector's own image has it, inside the network.
inside() { "${compose[@]}" exec -T countersign countersign "$@"; }

# get URL prints an answer's body, with nothing but bash.
get() {
  local hostport=${1#http://} path
  path=/${hostport#*/} hostport=${hostport%%/*}
  exec 3<>"/dev/tcp/${hostport%:*}/${hostport##*:}"
  printf 'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' "$path" "$hostport" >&3
  sed '1,/^\r$/d' <&3
  exec 3>&-
}

api=$("${compose[@]}" port emulator 4010)
listener=$("${compose[@]}" port emulator 8080)
broker=$("${compose[@]}" port kafka 9094)
creates() { get "http://$api/_emulator/stats" | grep -oE '"creates":[0-9]+' | grep -oE '[0-9]+'; }

factor=$("${compose[@]}" logs --no-log-prefix emulator | awk -v who="$identity" '$1 == "factor_sid" && $NF == who {sid = $2} END {print sid}')
[ -n "$factor" ] || fail 'the emulator has told no factor'
[ "$(get "http://$listener/readyz")" = ready ] || fail "not ready: $(get "http://$listener/readyz")"
pass 'the connector is ready, and its listener answers on loopback'

events=$(mktemp)
trap 'rm -f -- "$events" "$events.out"' EXIT
for ((i = 0; i < requests; i++)); do
  printf '{"version":"1.0","id":"%s-%d","operation":"create","service_sid":"%s","identity":"%s","create":{"factor_sid":"%s","details":{"message":"Sign in?"}}}\n' \
    "$run" "$i" "$service" "$identity" "$factor"
done >"$events"

# count WORD prints how many results have this outcome.
count() { grep -cE "^[^ ]+ +$1 +" "$events.out" || true; }

before=$(creates)
inside send --wait --wait-timeout 2m --brokers kafka:9092 - <"$events" >"$events.out" || { cat "$events.out" >&2; fail 'send ended with an error'; }
[ "$(count succeeded)" -eq "$requests" ] || { cat "$events.out" >&2; fail "$(count succeeded) of $requests requests succeeded"; }
[ $(($(creates) - before)) -eq "$requests" ] || fail "$(($(creates) - before)) challenges were made for $requests requests"
pass "$requests requests, $requests challenges, $requests results"

inside send --wait --wait-timeout 2m --brokers kafka:9092 - <"$events" >"$events.out" || fail 'the same again ended with an error'
[ "$(count duplicate)" -eq "$requests" ] || { cat "$events.out" >&2; fail "$(count duplicate) of $requests repetitions were told as duplicates"; }
[ $(($(creates) - before)) -eq "$requests" ] || fail 'a repetition was called again'
pass "the same $requests again: duplicates, no call"

status=0
inside send --wait --wait-timeout 2m --brokers kafka:9092 --operation fetch --service-sid "$service" --identity "$identity" \
  --challenge-sid YC00000000000000000000000000000000 >"$events.out" 2>&1 || status=$?
if [ "$status" -ne 1 ] || [ "$(count rejected)" -ne 1 ]; then
  cat "$events.out" >&2
  fail "a challenge that is not there: exit code $status"
fi
pass 'a challenge that is not there: rejected, exit code 1'

if [ -x bin/countersign ]; then
  bin/countersign send --wait --wait-timeout 2m --brokers "$broker" --operation list --service-sid "$service" --identity "$identity" >"$events.out" ||
    fail 'from this machine: send ended with an error'
  pass "from this machine, by $broker"
fi
line="compose smoke: $passed passed, 0 failed"
echo "$line"
echo "$line" >>"${CI_COUNTS:-/dev/null}"

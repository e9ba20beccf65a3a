#!/usr/bin/env bash
# The main job on a fixture: a Flask shop with SQLite under Gunicorn (gthread), a load
# generator, ten seconds of profile. Leaves demo/profile.svg, demo/profile.json and
# demo/run.farrier. Needs Rust and a CPython from 3.8 to 3.13; may be run again.
set -euo pipefail
cd "$(dirname "$0")/.."

SECONDS_OF_PROFILE=10

# What was started, by PID; ended however this script ends.
started=()
folder=$(mktemp -d)
cleanup() {
    trap - EXIT
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${started[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Waits until a file has a line with this text; fails if the process ends before.
wait_for_line() {
    local text=$1 file=$2 pid=$3
    until grep -q -- "$text" "$file" 2>/dev/null; do
        if ! kill -0 "$pid" 2>/dev/null; then
            echo "it ended before it was ready:" >&2
            cat "$file" >&2
            return 1
        fi
        sleep 0.05
    done
}

echo "building farrier" >&2
cargo build --release --quiet

if ! environment=$(scripts/environments.sh --newest); then
    echo "the demo needs a CPython from 3.8 to 3.13 with venv" >&2
    echo "(Debian and Ubuntu: apt-get install python3-venv; anywhere: uv python install 3.13)" >&2
    exit 1
fi
python=${environment#* }

# Pipes hold the helpers' standard inputs open, so that they stay.
mkfifo "$folder/peer.stdin" "$folder/load.stdin"
"$python" fixtures/apps/slow_peer.py <"$folder/peer.stdin" >"$folder/peer" &
started+=($!)
exec 7>"$folder/peer.stdin"
wait_for_line READY "$folder/peer" "${started[-1]}"
peer=$(cut -d ' ' -f 2 "$folder/peer")

FIXTURE_DIR=$folder FIXTURE_PEER=127.0.0.1:$peer XDG_RUNTIME_DIR=$folder \
    "$(dirname "$python")/gunicorn" --bind 127.0.0.1:0 --workers 2 --threads 4 \
    --graceful-timeout 3 --chdir fixtures/apps flask_shop:app 2>"$folder/gunicorn" 7>&- &
arbiter=$!
started+=("$arbiter")
wait_for_line READY "$folder/gunicorn" "$arbiter"
port=$(sed -n 's|.*Listening at: http://127.0.0.1:\([0-9]*\).*|\1|p' "$folder/gunicorn" | head -n 1)

"$python" fixtures/apps/load.py --port "$port" --connections 6 --duration 120 \
    --until-stdin-closes '/users/{user}=4' '/report' '/slow' '/stats=2' '/search=2' '/partner' \
    '/orders/{int}=2' 'POST /orders/{int}' '/shop/items/{uuid}' 'POST /shop/baskets' \
    <"$folder/load.stdin" >"$folder/load" 7>&- &
load=$!
started+=("$load")
exec 8>"$folder/load.stdin"
wait_for_line READY "$folder/load" "$load"

mkdir -p demo
echo "farrier record -p $arbiter -d $SECONDS_OF_PROFILE   (a Gunicorn under load on port $port)" >&2
target/release/farrier record -p "$arbiter" -d "$SECONDS_OF_PROFILE" \
    -o demo/profile.svg -o demo/profile.json -o demo/run.farrier 7>&- 8>&-

# The load generator finishes what is under way and says what it did.
exec 8>&-
wait "$load"
echo
echo "the load generator's own account:"
tail -n 1 "$folder/load" | "$python" -c '
import json, sys
account = json.load(sys.stdin)
print("  {requests} requests in {seconds} s, {errors} errors".format(**account))'
echo
ls -1 demo/profile.svg demo/profile.json demo/run.farrier

#!/usr/bin/env bash
# What sampling costs the profiler: its CPU time for each thread-sample and its system
# calls for each tick, on a fixed target (5 threads, 30 frames deep, 1 kHz), side by
# side with `py-spy record --nonblocking`. Rounds are interleaved; medians are printed.
#
#   scripts/bench.sh [ROUNDS [SECONDS]]      5 rounds of 5 seconds unless told
set -euo pipefail
cd "$(dirname "$0")/.."

PY_SPY=0.4.3

environment=$(scripts/environments.sh --newest)
python=${environment#* }

# Whole or not at all: built under another name, then renamed.
tools=.cache/py-spy-$PY_SPY
if ! [ -x "$tools/py-spy" ]; then
    rm -rf "$tools" "$tools.partial"
    "$python" -m pip install --quiet --disable-pip-version-check \
        --target "$tools.partial" "py-spy==$PY_SPY"
    cp "$tools.partial/bin/py-spy" "$tools.partial/py-spy"
    mv "$tools.partial" "$tools"
fi

cargo build --release --quiet
exec "$python" scripts/bench.py --farrier target/release/farrier --py-spy "$tools/py-spy" \
    --rounds "${1:-5}" --seconds "${2:-5}"

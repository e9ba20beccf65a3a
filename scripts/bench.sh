#!/usr/bin/env bash
# What sampling costs, side by side in one run: farrier, py-spy --nonblocking, Austin, and on
# a CPython 3.15 its own sampler. The same target for all (5 threads, 30 frames deep, 1 kHz);
# rounds are interleaved and medians printed:
#
#   CPU time for each thread-sample, ticks missed and samples in error, the highest rate that
#   is kept up, system calls, and by how much the target is slower than without a profiler
#
#   scripts/bench.sh [--rounds N] [--seconds N] [--busy N]...    5 rounds of 5 s; 1 and 4 busy
set -euo pipefail
cd "$(dirname "$0")/.."

AUSTIN=4.0.0

environment=$(scripts/environments.sh --newest)
python=${environment#* }

# tool PACKAGE VERSION: the folder with its programs. Whole or not at all: built under
# another name, then renamed.
tool() {
    local folder=.cache/$1-$2
    if ! [ -d "$folder/bin" ]; then
        rm -rf "$folder" "$folder.partial"
        "$python" -m pip install --quiet --disable-pip-version-check \
            --target "$folder.partial" "$1==$2" >&2
        mv "$folder.partial" "$folder"
    fi
    echo "$folder/bin"
}

targets=(--python "$python")
austin=()
if sid=$(scripts/sid.sh); then
    targets=(--python "$sid/usr/bin/python3.14" --python "$sid/usr/bin/python3.15")
    # Its binary wants glibc 2.38.
    austin=(--austin "$sid/lib64/ld-linux-x86-64.so.2" --library-path "$sid/usr/lib/x86_64-linux-gnu"
        "$(tool austin-dist $AUSTIN)/austin")
else
    echo "skipped: Austin, and CPython's own sampler: no CPython 3.15 (scripts/sid.sh)" >&2
fi

cargo build --release --quiet
exec "$python" scripts/bench.py --farrier target/release/farrier \
    --py-spy "$(scripts/py_spy.sh)" "${targets[@]}" "$@" "${austin[@]}"

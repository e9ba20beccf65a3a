#!/usr/bin/env bash
# How true profilers' stacks are: farrier's, py-spy's, Austin's and, on 3.15, CPython's own
# sampler's, on a target whose every possible stack is known and on a real mix of work.
#
#   scripts/peers_truth.sh [SECONDS [VERSION...]]     5 seconds each, of every version
set -euo pipefail
cd "$(dirname "$0")/.."

AUSTIN=4.0.0

seconds=${1:-5}
shift || true
pythons=()
while read -r version path; do
    case $version in *d) continue ;; esac
    if [ $# -eq 0 ] || [[ " $* " == *" $version "* ]]; then
        pythons+=("$version=$path")
    fi
done < <(scripts/environments.sh)
python=$(scripts/environments.sh --newest | cut -d ' ' -f 2)

# Whole or not at all: built under another name, then renamed.
fetch() {
    local package=$1 program=$2 folder=.cache/$3
    if ! [ -x "$folder/$program" ]; then
        rm -rf "$folder" "$folder.partial"
        "$python" -m pip install --quiet --disable-pip-version-check --no-deps \
            --target "$folder.partial" "$package"
        cp "$folder.partial/bin/$program" "$folder.partial/$program"
        mv "$folder.partial" "$folder"
    fi
}
py_spy=$(scripts/py_spy.sh)
fetch "austin-dist==$AUSTIN" austin "austin-$AUSTIN"

# Austin wants a C library of 2.38 or newer; sid's does where the system's is older.
austin=.cache/austin-$AUSTIN/austin
if ! "$austin" --version >/dev/null 2>&1; then
    if sid=$(scripts/sid.sh --look); then
        libraries=$sid/usr/lib/$(uname -m)-linux-gnu
        loader=$(echo "$libraries"/ld-linux-*.so.*)
        austin="$loader --library-path $libraries $austin"
    fi
    if ! $austin --version >/dev/null 2>&1; then
        echo "skipped: austin does not run here" >&2
        austin=
    fi
fi

cargo build --release --quiet
exec "$python" scripts/peers_truth.py --farrier target/release/farrier \
    --py-spy "$py_spy" --austin "$austin" --seconds "$seconds" "${pythons[@]}"

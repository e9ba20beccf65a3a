#!/usr/bin/env bash
# Makes fixtures/memory/X.Y.snapshot and X.Y.json anew for every interpreter in
# .cache/pythons, or for the versions that are named: what farrier reads of
# known_stack.py, and what that says of itself.
#
#   scripts/snapshot.sh [X.Y ...]
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d /tmp/snapshots.XXXXXX)
trap 'rm -rf "$folder"' EXIT
# Paths in the snapshots are these links, not those of the machine that made them.
ln -s "$PWD/fixtures/apps" "$folder/apps"
cargo build --quiet --example snapshot
mkdir -p fixtures/memory

if [ $# -eq 0 ]; then
    mapfile -t versions < <(cd .cache/pythons && printf '%s\n' *.*[0-9] | sort -V)
else
    versions=("$@")
fi

for version in "${versions[@]}"; do
    python=$(realpath ".cache/pythons/$version/bin/python")
    ln -s "${python%/bin/*}" "$folder/$version"
    coproc target {
        exec env -i PYTHONIOENCODING=utf-8 PYTHONHOME="$folder/$version" \
            "$folder/$version/bin/python$version" -sS "$folder/apps/known_stack.py"
    }
    read -r truth <&"${target[0]}"
    # Until its threads have come from telling it to where they stand.
    sleep 0.3
    read -r ready <&"${target[0]}"
    [ "$ready" = READY ]
    target/debug/examples/snapshot "$target_PID" "fixtures/memory/$version" <<<"$truth"
    # It ends when its standard input does.
    eval "exec ${target[1]}>&-"
    wait "$target_PID"
    echo "fixtures/memory/$version: $(stat -c %s "fixtures/memory/$version.snapshot") bytes"
done

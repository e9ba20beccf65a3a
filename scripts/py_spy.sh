#!/usr/bin/env bash
# Fetches py-spy, which farrier is compared with, and prints where it is. Quick when run again.
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=0.4.3

folder=.cache/py-spy-$VERSION
if ! [ -x "$folder/bin/py-spy" ]; then
    environment=$(scripts/environments.sh --newest)
    # Whole or not at all: built under another name, then renamed.
    rm -rf "$folder" "$folder.partial"
    "${environment#* }" -m pip install --quiet --disable-pip-version-check \
        --target "$folder.partial" "py-spy==$VERSION" >&2
    mv "$folder.partial" "$folder"
fi
echo "$folder/bin/py-spy"

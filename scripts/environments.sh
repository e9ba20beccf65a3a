#!/usr/bin/env bash
# Makes a virtual environment with the fixture applications' packages for each
# CPython that scripts/pythons.sh finds, in .cache/pythons/X.Y, and prints
# "X.Y /path/to/its/python" for each. One that is up to date is left alone.
# Builds --with-pydebug that sid has come beside it, without packages, in X.Yd.
#
#   scripts/environments.sh                  every version
#   scripts/environments.sh --newest         the newest version found, only
#   scripts/environments.sh --fetch          install missing versions first
set -euo pipefail
cd "$(dirname "$0")/.."

REQUIREMENTS=fixtures/apps/requirements.txt
# What only the oldest, the newest and two in between carry: an environment with these
# packages is ten times as big.
SERVICES=fixtures/apps/services.txt
WITH_SERVICES=" 3.8 3.11 3.13 3.15 "
mkdir -p .cache/pythons
CACHE=$(cd .cache/pythons && pwd -P)

# One at a time: a second caller waits and then finds everything done.
exec 9>"$CACHE/.lock"
flock 9

# The lists of packages of a version, as pip's arguments.
lists() {
    echo "--requirement $REQUIREMENTS"
    [[ $WITH_SERVICES != *" $1 "* ]] || echo "--requirement $SERVICES"
}

# Builds under a temporary name and renames, so that an environment is there whole
# or not at all. Scripts in bin/ name their interpreter by its full path, hence sed.
build() {
    local version=$1 python=$2 stamp=$3
    local final=$CACHE/$version partial=$CACHE/.partial-$version
    rm -rf "$partial"
    "$python" -m venv "$partial"
    # Wheels only: nothing of these may depend on a compiler being here.
    # shellcheck disable=SC2046
    "$partial/bin/python" -m pip install --quiet --disable-pip-version-check \
        --only-binary :all: $(lists "$version") >&2
    grep -lIr --fixed-strings "$partial" "$partial/bin" "$partial/pyvenv.cfg" |
        xargs --no-run-if-empty sed -i "s|$partial|$final|g"
    echo "$stamp" >"$partial/stamp"
    rm -rf "$final"
    mv "$partial" "$final"
}

fetch=()
newest=
for argument in "$@"; do
    case $argument in
    --fetch) fetch=(--fetch) ;;
    --newest) newest=yes ;;
    *)
        echo "usage: scripts/environments.sh [--fetch] [--newest]" >&2
        exit 2
        ;;
    esac
done

# What is missing has been said by pythons.sh; what was found is made all the same.
found=$(scripts/pythons.sh "${fetch[@]}") || true
if [ -n "$newest" ]; then
    found=$(tail -n 1 <<<"$found")
fi
if [ -z "$found" ]; then
    echo "no supported CPython found" >&2
    exit 1
fi

while read -r version python; do
    # shellcheck disable=SC2046
    stamp="$python $(cat $(lists "$version" | cut -d ' ' -f 2) | cksum)"
    if [ "$(cat "$CACHE/$version/stamp" 2>/dev/null)" != "$stamp" ] ||
        ! [ -x "$CACHE/$version/bin/python" ]; then
        echo "making .cache/pythons/$version" >&2
        build "$version" "$python" "$stamp"
    fi
    echo "$version $CACHE/$version/bin/python"
done <<<"$found"

look=(--look)
[ ${#fetch[@]} -eq 0 ] || look=()
if sid=$(scripts/sid.sh "${look[@]}"); then
    for python in "$sid"/usr/bin/python3.*d; do
        folder=$CACHE/${python##*/python}
        if [ "$(readlink -f "$folder/bin/python")" != "$python" ]; then
            rm -rf "$folder"
            "$python" -m venv --without-pip "$folder"
        fi
    done
fi

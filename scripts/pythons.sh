#!/usr/bin/env bash
# Finds one CPython for each supported version and prints "3.8 /path/to/python3.8",
# a line for each. What is missing, and how to get it, goes to standard error.
#
#   scripts/pythons.sh            look only
#   scripts/pythons.sh --fetch    get what is missing, then look: from Debian's sid
#                                 (scripts/sid.sh), or by uv or pyenv
#
# Exit status: 0 if every version was found, 1 otherwise.
set -euo pipefail

cd "$(dirname "$0")/.."

VERSIONS=(3.8 3.9 3.10 3.11 3.12 3.13 3.14 3.15)

# Places where a Python X.Y may be, best first: pyenv's, the PATH's, sid's, uv's.
candidates() {
    local version=$1
    local pyenv_root=${PYENV_ROOT:-$HOME/.pyenv}
    printf '%s\n' "$pyenv_root/versions/$version".*/bin/"python$version" | sort -rV
    type -ap "python$version" || true
    local sid
    if sid=$(scripts/sid.sh --look); then
        echo "$sid/usr/bin/python$version"
    fi
    if command -v uv >/dev/null; then
        uv python find --no-python-downloads "$version" 2>/dev/null || true
    fi
}

# Prints the real path if this is a CPython of that version, with a GIL, that can
# make virtual environments and use SQLite. A pyenv shim that leads nowhere fails.
usable() {
    [ -x "$2" ] && "$2" - "$1" 2>/dev/null <<'PYTHON'
import ensurepip, os, sqlite3, ssl, sys, sysconfig, venv

wanted = tuple(map(int, sys.argv[1].split(".")))
good = (
    sys.implementation.name == "cpython"
    and sys.version_info[:2] == wanted
    and sys.prefix == sys.base_prefix
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
)
if not good:
    sys.exit(1)
print(os.path.realpath(sys.executable))
PYTHON
}

find_version() {
    local candidate
    while IFS= read -r candidate; do
        if usable "$1" "$candidate"; then
            return 0
        fi
    done < <(candidates "$1")
    return 1
}

fetch() {
    # Nothing is built there, so it is tried first.
    if scripts/sid.sh | grep -q . && find_version "$1" >/dev/null; then
        return 0
    fi
    if command -v uv >/dev/null; then
        uv python install "$1" >&2
    elif command -v pyenv >/dev/null; then
        pyenv install --skip-existing "$1" >&2
    else
        return 1
    fi
}

missing=()
for version in "${VERSIONS[@]}"; do
    if path=$(find_version "$version"); then
        echo "$version $path"
    elif [ "${1:-}" = --fetch ] && fetch "$version" && path=$(find_version "$version"); then
        echo "$version $path"
    else
        missing+=("$version")
    fi
done

if [ ${#missing[@]} -gt 0 ]; then
    echo "missing: CPython ${missing[*]}; 'scripts/pythons.sh --fetch' gets what it can, 'uv python install ${missing[*]}' or 'pyenv install' the rest" >&2
    exit 1
fi

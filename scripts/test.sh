#!/usr/bin/env bash
# Sets up everything and runs every check. Quick when run again.
#
# What cannot be set up here (no root for system packages, a Python version that
# cannot be had) is skipped and said; with CI=true it is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

step "system packages"
# A program that the tests start, and the Debian package that has it.
# apache2 comes with its module, and alone: the package apache2 would start a server.
programs=(
    strace:strace chromium:chromium setpriv:util-linux unshare:util-linux ip:iproute2
    gcc:gcc strip:binutils uwsgi_python3:uwsgi-plugin-python3 apache2:libapache2-mod-wsgi-py3
    x86_64-linux-gnu-python3.11-config:libpython3.11-dev redis-server:redis-server
    mariadbd:mariadb-server go:golang-go
)
packages=()
for entry in "${programs[@]}"; do
    command -v "${entry%%:*}" >/dev/null || packages+=("${entry##*:}")
done
# Its programs are not in the search path, all but the client.
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || packages+=(postgresql)
if [ ${#packages[@]} -eq 0 ]; then
    echo "all there"
elif [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    # At run level 1 no service is started that a package brings.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
else
    echo "missing, and their tests will be skipped: ${packages[*]}" >&2
fi

step "interpreters"
scripts/environments.sh --fetch || echo "the live tests will be skipped" >&2

scripts/py_spy.sh >/dev/null || echo "the comparisons with py-spy will be skipped" >&2

step "format"
cargo fmt --check

step "clippy"
cargo clippy --all-targets -- -D warnings

step "documentation"
RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --quiet

step "scripts"
for script in scripts/*.sh .ci/run; do
    bash -n "$script"
done
python=$(scripts/environments.sh --newest 2>/dev/null | cut -d ' ' -f 2) || python=python3
"$python" -m compileall -q fixtures/apps scripts

step "tests"
# Live tests take turns among themselves: what they assert is about time. All of them
# run, whatever fails: who reads the output of a CI elsewhere cannot ask for the rest.
cargo test --no-fail-fast

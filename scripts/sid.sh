#!/usr/bin/env bash
# Unpacks the newest CPythons of Debian's development release, sid, into a folder of
# their own, so that they run beside whatever is installed, and prints that folder.
#
#   scripts/sid.sh            make it if it is not there (under a minute, 0.5 GB)
#   scripts/sid.sh --look     print it if it is there, else fail
#
# Needs apt (not root: nothing is installed) and Debian's archive keys. The folder is
# ${XDG_CACHE_HOME:-~/.cache}/farrier/sid-N, there whole or not at all; delete it to get
# newer packages. In it:
#
#   usr/bin/python3.X         runs where it lies, with sid's own C library (relocate.py)
#   usr/bin/python3.Xd        likewise, the build --with-pydebug
#   usr/include/python3.X     its headers
#   usr/local/bin/python3.X   as Debian built it, for `chroot` into the folder
set -euo pipefail

# Counts up when what this script makes changes.
RECIPE=1
VERSIONS=(3.13 3.14 3.15)
KEYS=/usr/share/keyrings/debian-archive-keyring.gpg

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/farrier
final=$cache/sid-$RECIPE
if [ -d "$final" ]; then
    echo "$final"
    exit
fi
[ "${1:-}" != --look ] || exit 1
for program in apt-get dpkg-deb; do
    if ! command -v "$program" >/dev/null; then
        echo "sid's CPythons need $program, which is not here" >&2
        exit 1
    fi
done
if ! [ -f "$KEYS" ]; then
    echo "sid's CPythons need $KEYS (package debian-archive-keyring)" >&2
    exit 1
fi

# From where this system has its own Debian, or from where one is told.
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
mirror=${FARRIER_DEBIAN_MIRROR:-$(
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk -v release="$release" '$2 == release && $3 == "main" { print $1; exit }'
)}
if [ -z "$mirror" ]; then
    echo "sid's CPythons need a Debian mirror: name one in FARRIER_DEBIAN_MIRROR" >&2
    exit 1
fi

# One at a time: a second caller waits and then finds everything done.
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
if [ -d "$final" ]; then
    echo "$final"
    exit
fi
partial=$cache/.partial-sid
rm -rf "$partial"
mkdir -p "$partial/apt/"{lists,archives}/partial "$partial/apt/"{apt.conf.d,preferences.d} "$partial/root"
trap 'rm -rf "$partial"' EXIT

# An apt that knows of no package but sid's, and of none as installed. A mirror may lag.
: >"$partial/apt/status"
echo "deb [signed-by=$KEYS] $mirror sid main" >"$partial/apt/sources.list"
export APT_CONFIG=$partial/apt/config
cat >"$APT_CONFIG" <<CONFIG
Dir::Etc "$partial/apt";
Dir::State "$partial/apt";
Dir::State::status "$partial/apt/status";
Dir::Cache "$partial/apt";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
CONFIG

echo "fetching sid's CPython ${VERSIONS[*]}" >&2
packages=(base-files)
debug=()
for version in "${VERSIONS[@]}"; do
    packages+=("python$version-venv" "libpython$version-dev")
    debug+=("python$version-dbg" "libpython$version-dbg")
done
{
    apt-get update -qq
    apt-get install --download-only -y -qq "${packages[@]}"
    # Of these the executables and modules are wanted, not what they depend on (Tk).
    (cd "$partial/apt/archives" && apt-get download -qq "${debug[@]}")
} >&2

root=$partial/root
for folder in bin sbin lib lib64; do
    mkdir -p "$root/usr/$folder"
    ln -s "usr/$folder" "$root/$folder"
done
for package in "$partial"/apt/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" |
        tar --extract --keep-directory-symlink --directory "$root" \
            --exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/lib/debug' \
            --exclude='*.a'
done

# The unpacked Python itself makes them ready, so that no other one is needed.
run() {
    local linker
    linker=$(echo "$root"/usr/lib64/ld-linux-*.so.*)
    "$linker" --library-path "$(dirname "$(realpath "$linker")")" "$root/usr/bin/python${VERSIONS[-1]}" "$@"
}
mkdir -p "$root/usr/local/bin"
for version in "${VERSIONS[@]}"; do
    for name in "python$version" "python${version}d"; do
        cp "$root/usr/bin/$name" "$root/usr/local/bin/$name"
    done
done
for original in "$root"/usr/local/bin/*; do
    run "$here/relocate.py" "$original" "$root/usr/bin/.new" "$root" "$final"
    mv "$root/usr/bin/.new" "$root/usr/bin/${original##*/}"
done
# ensurepip looks there; sysconfig tells it in Python and in JSON.
sed -i "s|/usr/share/python-wheels|$final&|" "$root"/usr/lib/python3.*/_sysconfig*

mv "$root" "$final"
echo "$final"

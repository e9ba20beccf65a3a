#!/usr/bin/env bash
# Compiles fixtures/apps/free_threaded.c with an interpreter's own headers.
#
#   scripts/free_threaded.sh PYTHON PROGRAM      PYTHON is 3.13 or later, with headers
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t found < <("$1" -c "import sysconfig as s
print(s.get_path('include'), s.get_config_var('MULTIARCH'), sep='\n')")
include=${found[0]}
if ! [ -f "$include/Python.h" ]; then
    echo "$1 has no headers ($include/Python.h)" >&2
    exit 1
fi
# Debian keeps what differs between architectures apart. The initialisers name functions
# that nobody calls here, so nothing has to be there for them.
exec "${CC:-cc}" -w -O0 -static -no-pie -DPy_GIL_DISABLED=1 -DWITH_MIMALLOC=1 -include stddef.h \
    -I"$(dirname "$include")/${found[1]}/$(basename "$include")" -I"$include" -I"$include/internal" \
    -idirafter"$(dirname "$include")" -Wl,--unresolved-symbols=ignore-all \
    fixtures/apps/free_threaded.c -o "$2" -lpthread

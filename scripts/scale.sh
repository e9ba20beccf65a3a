#!/usr/bin/env bash
# What a large fleet costs farrier: 64 idle workers of 8 threads each at 100 Hz, and the same
# with each at work 1 % of the time. Prints farrier's share of a CPU and its memory.
#
#   scripts/scale.sh [--workers N] [--threads N] [--rate HZ] [--seconds N]
set -euo pipefail
cd "$(dirname "$0")/.."

environment=$(scripts/environments.sh --newest)
cargo build --release --quiet
exec "${environment#* }" scripts/scale.py --farrier target/release/farrier "$@"

"""What a large fleet costs farrier; scripts/scale.sh calls it.

CPU time and memory are what the kernel charged the finished profiler (wait4), attaching
included. The first run's length is subtracted, so that the CPU share is of sampling alone.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

TARGET = pathlib.Path(__file__).resolve().parent.parent / "fixtures/apps/worker_fleet.py"


def record(farrier, pid, seconds, rate, output):
    command = [farrier, "record", "-q", "--max-cpu", "none", "-p", str(pid)]
    command += ["-d", str(seconds), "-r", str(rate), "-o", str(output), "-o", str(output) + ".farrier"]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status != 0:
        raise SystemExit(f"{command} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss, json.loads(output.read_text())


def measure(arguments, busy, folder):
    fleet = [sys.executable, str(TARGET), str(arguments.workers), str(arguments.threads), str(busy)]
    with subprocess.Popen(fleet, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as target:
        if target.stdout.readline() != b"READY\n":
            raise SystemExit("the fleet did not start")
        run = lambda seconds: record(
            arguments.farrier, target.pid, seconds, arguments.rate, folder / "farrier.json"
        )
        short_cpu, _, _ = run(1)
        cpu, resident, summary = run(1 + arguments.seconds)
        target.stdin.close()
    sampling = summary["sampling"]
    share = (cpu - short_cpu) / arguments.seconds
    missed = sampling["missed_ticks"] / (sampling["ticks"] + sampling["missed_ticks"])
    print(
        f"{len(summary['processes'])} processes, {sampling['samples'] / sampling['ticks']:.0f} threads,"
        f" each busy {busy} % of the time, {arguments.rate} Hz: {share:.1%} of a CPU,"
        f" {missed:.1%} of ticks missed, {resident / 1024:.0f} MiB, {short_cpu:.2f} s to begin"
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--farrier", required=True)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for busy in (0, 1):
            measure(arguments, busy, pathlib.Path(folder))


if __name__ == "__main__":
    main()

"""Measures profilers side by side; scripts/bench.sh calls it.

CPU time is what the kernel charged the finished profiler (wait4). Thread-samples are
what the profiler itself wrote down: farrier's `sampling.samples`, and the total of
py-spy's raw output, idle threads included for both. System calls are strace's count;
two runs of different length are subtracted, so that start-up is not in them.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TARGET = pathlib.Path(__file__).resolve().parent.parent / "fixtures/apps/bench_target.py"
RATE = 1000
# strace makes every system call slow; how many a tick needs is the same at any rate.
TRACED_RATE = 100
THREADS = 5


class Target:
    """The fixed target with so many of its threads busy."""

    def __init__(self, busy):
        self.process = subprocess.Popen(
            [sys.executable, str(TARGET), str(busy)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            universal_newlines=True,
        )
        if self.process.stdout.readline() != "READY\n":
            raise SystemExit("the target did not start")
        self.pid = self.process.pid

    def loops(self):
        self.process.stdin.write("how far\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["loops"], answer["at"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def farrier(path, folder):
    output = folder / "farrier.json"

    def samples():
        return json.loads(output.read_text())["sampling"]["samples"]

    return [path, "record", "--idle", "--max-cpu", "none", "-o", str(output)], samples


def py_spy(path, folder):
    output = folder / "py-spy.raw"

    def samples():
        return sum(int(line.rsplit(" ", 1)[1]) for line in output.read_text().splitlines())

    return [path, "record", "--nonblocking", "--idle", "-f", "raw", "-o", str(output)], samples


TOOLS = {"farrier": farrier, "py-spy": py_spy}


def aimed(command, target, seconds, rate):
    return command + ["-p", str(target.pid), "-d", str(seconds), "-r", str(rate)]


def finish(command):
    """Runs a command to its end: the CPU seconds that it used, and how long it took."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        if status != 0:
            said.seek(0)
            raise SystemExit(f"{command} failed:\n{said.read().decode(errors='replace')}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - start


def cost(tool, path, busy, seconds, folder):
    """One run: CPU microseconds for a thread-sample, thread-samples a second (a
    profiler that cannot keep up takes longer than it was told), and how many loops a
    second the target did meanwhile."""
    command, samples = TOOLS[tool](path, folder)
    with Target(busy) as target:
        loops, at = target.loops()
        cpu, took = finish(aimed(command, target, seconds, RATE))
        loops_after, at_after = target.loops()
    count = samples()
    return cpu / count * 1e6, count / took, (loops_after - loops) / (at_after - at)


def undisturbed(busy, seconds):
    """Loops a second that the target does when nobody looks."""
    with Target(busy) as target:
        loops, at = target.loops()
        try:
            target.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        loops_after, at_after = target.loops()
    return (loops_after - loops) / (at_after - at)


def system_calls(tool, path, busy, seconds, folder):
    """System calls and thread-samples of one run under strace."""
    table = folder / "strace"
    command, samples = TOOLS[tool](path, folder)
    with Target(busy) as target:
        traced = ["strace", "-f", "-c", "-U", "calls,name", "-o", str(table)] + command
        finish(aimed(traced, target, seconds, TRACED_RATE))
    (calls,) = [line.split()[0] for line in table.read_text().splitlines() if line.endswith(" total")]
    return int(calls), samples()


def calls_per_tick(tool, path, busy, folder):
    short_calls, short_samples = system_calls(tool, path, busy, 1, folder)
    long_calls, long_samples = system_calls(tool, path, busy, 4, folder)
    return (long_calls - short_calls) / (long_samples - short_samples) * THREADS


def compare(paths, busy, rounds, seconds, folder):
    print(f"\n{THREADS} threads, 30 frames deep, {busy} busy; {RATE} Hz, {rounds} x {seconds} s")
    results = {tool: [] for tool in TOOLS}
    alone = []
    for _ in range(rounds):
        for tool in TOOLS:
            results[tool].append(cost(tool, paths[tool], busy, seconds, folder))
        alone.append(undisturbed(busy, seconds))
    speed = statistics.median(alone)
    columns = "{:8} {:>15} {:>17} {:>15} {:>13} {:>9}"
    print(columns.format("", "us CPU per", "", "thread-samples", "system calls", "target"))
    print(columns.format("", "thread-sample", "lowest-highest", "per second", "per tick", "slowed by"))
    medians = {}
    for tool, runs in results.items():
        costs = [run[0] for run in runs]
        medians[tool] = statistics.median(costs)
        rate = statistics.median(run[1] for run in runs)
        slowed = 1 - statistics.median(run[2] for run in runs) / speed
        calls = "no strace"
        if shutil.which("strace"):
            calls = f"{calls_per_tick(tool, paths[tool], busy, folder):.1f}"
        spread = f"{min(costs):.2f}-{max(costs):.2f}"
        print(columns.format(tool, f"{medians[tool]:.2f}", spread, f"{rate:.0f}", calls, f"{slowed:.1%}"))
    print(f"farrier's CPU per thread-sample is {medians['farrier'] / medians['py-spy']:.3f} of py-spy's")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--farrier", required=True)
    parser.add_argument("--py-spy", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    arguments = parser.parse_args()
    paths = {"farrier": arguments.farrier, "py-spy": arguments.py_spy}
    print(f"CPython {sys.version.split()[0]}, {os.cpu_count()} CPUs")
    with tempfile.TemporaryDirectory() as folder:
        for busy in (1, 4):
            compare(paths, busy, arguments.rounds, arguments.seconds, pathlib.Path(folder))


if __name__ == "__main__":
    main()

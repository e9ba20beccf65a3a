"""Measures profilers side by side; scripts/bench.sh calls it.

CPU time is what the kernel charged the finished profiler (wait4); thread-samples and errors
are what the profiler itself says, idle threads counted for all. System calls are strace's
count. Of both, two runs of different length are subtracted, so that beginning and ending are
not in them. A tick is one look at all threads of the target.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TARGET = pathlib.Path(__file__).resolve().parent.parent / "fixtures/apps/bench_target.py"
RATE = 1000
# What is asked for to see how far a profiler gets.
HIGHEST_RATE = 10000
# strace makes every system call slow; how many a tick needs is the same at any rate.
TRACED_RATE = 100
THREADS = 5
# A profiler that cannot keep up may take longer than it was told; this much it may need to
# begin and to write.
BEGINNING = 1.0

Seen = collections.namedtuple("Seen", "samples errors")
Run = collections.namedtuple("Run", "cost missed errors loops")


class Target:
    """The fixed target with so many of its threads busy."""

    def __init__(self, python, busy):
        self.process = subprocess.Popen(
            [python, str(TARGET), str(busy), str(THREADS)],
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


class Farrier:
    def __init__(self, path, *options):
        self.command = [path, "record", "--idle", "--max-cpu", "none", "-f", "json", *options]

    def aimed(self, pid, seconds, rate, output):
        return self.command + ["-p", str(pid), "-d", str(seconds), "-r", str(rate), "-o", output]

    def seen(self, output, _said):
        sampling = json.loads(output.read_text())["sampling"]
        return Seen(sampling["samples"], sampling["partial"] + sampling["lost"])


def folded_total(output):
    return sum(int(line.rsplit(" ", 1)[1]) for line in output.read_text().splitlines())


class PySpy:
    def __init__(self, path):
        self.command = [path, "record", "--nonblocking", "--idle", "-f", "raw"]

    def aimed(self, pid, seconds, rate, output):
        return self.command + ["-p", str(pid), "-d", str(seconds), "-r", str(rate), "-o", output]

    def seen(self, output, said):
        errors = int(re.search(r"Errors: (\d+)", said).group(1))
        # It counts errors by the tick, which is then lost for all threads.
        return Seen(folded_total(output), errors * THREADS)


class Austin:
    """Its binary wants a newer C library than Debian 12 has: `command` may be a loader."""

    def __init__(self, *command):
        self.command = list(command)

    def aimed(self, pid, seconds, rate, output):
        interval = str(1000000 // rate)
        return self.command + ["-i", interval, "-x", str(seconds), "-p", str(pid), "-o", output]

    def seen(self, _output, said):
        errors, samples = re.search(r"Error rate.*?(\d+)/(\d+)", said).groups()
        return Seen(int(samples), int(errors))


class CPython:
    """The sampler of 3.15's standard library, which reads its own version alone."""

    def __init__(self, python):
        self.command = [python, "-m", "profiling.sampling", "attach", "-a", "--collapsed"]

    def aimed(self, pid, seconds, rate, output):
        return self.command + ["-r", str(rate), "-d", str(seconds), "-o", output, str(pid)]

    def seen(self, output, said):
        samples = folded_total(output)
        percent = float(re.search(r"Error rate: ([0-9.]+)", said).group(1))
        return Seen(samples, samples * percent / 100)


def run(tool, pid, seconds, rate, folder, before=()):
    """Runs a profiler to its end: the CPU seconds that it used, what it saw, and for how
    long it sampled."""
    output = folder / "output"
    start = time.monotonic()
    with tempfile.TemporaryFile() as said:
        command = [*before, *tool.aimed(pid, seconds, rate, str(output))]
        process = subprocess.Popen(command, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        said.seek(0)
        text = re.sub(r"\x1b\[[0-9;]*m", "", said.read().decode(errors="replace"))
    if status != 0 and "Sampling Statistics" not in text:  # which Austin ends with, and not 0
        raise SystemExit(f"{command} failed:\n{text}")
    took = max(seconds, time.monotonic() - start - BEGINNING)
    return usage.ru_utime + usage.ru_stime, tool.seen(output, text), took


def measure(tool, python, busy, seconds, folder):
    with Target(python, busy) as target:
        short_cpu, short, _ = run(tool, target.pid, 1, RATE, folder)
        loops, at = target.loops()
        cpu, seen, took = run(tool, target.pid, 1 + seconds, RATE, folder)
        loops_after, at_after = target.loops()
    cost = (cpu - short_cpu) / (seen.samples - short.samples) * 1e6
    missed = 1 - (seen.samples + seen.errors) / (THREADS * RATE * took)
    errors = seen.errors / (seen.samples + seen.errors)
    return Run(cost, max(missed, 0), errors, (loops_after - loops) / (at_after - at))


def highest_rate(tool, python, busy, seconds, folder):
    with Target(python, busy) as target:
        _, seen, took = run(tool, target.pid, seconds, HIGHEST_RATE, folder)
    return seen.samples / THREADS / took


def undisturbed(python, busy, seconds):
    """Loops a second that the target does when nobody looks."""
    with Target(python, busy) as target:
        loops, at = target.loops()
        time.sleep(seconds)
        loops_after, at_after = target.loops()
    return (loops_after - loops) / (at_after - at)


def calls_per_sample(tool, python, busy, folder):
    def traced(seconds):
        table = folder / "strace"
        before = ["strace", "-f", "-c", "-U", "calls,name", "-o", str(table)]
        with Target(python, busy) as target:
            _, seen, _ = run(tool, target.pid, seconds, TRACED_RATE, folder, before)
        lines = table.read_text().splitlines()
        (calls,) = [line.split()[0] for line in lines if line.endswith(" total")]
        return int(calls), seen.samples

    (short_calls, short_samples), (long_calls, long_samples) = traced(1), traced(4)
    return (long_calls - short_calls) / (long_samples - short_samples)


def compare(tools, python, version, busy, arguments, folder):
    rounds, seconds = arguments.rounds, arguments.seconds
    print(
        f"\nCPython {version}: {THREADS} threads, 30 frames deep, {busy} busy;"
        f" {RATE} Hz, {rounds} x {seconds} s"
    )
    alone, runs = [], {name: [] for name in tools}
    for _ in range(rounds):
        alone.append(undisturbed(python, busy, seconds))
        for name, tool in tools.items():
            runs[name].append(measure(tool, python, busy, seconds, folder))
    speed = statistics.median(alone)
    row = "{:21} {:>9} {:>13} {:>7} {:>7} {:>8} {:>9} {:>9} {:>8}".format
    print(row("", "us CPU per", "", "ticks", "", "most", "calls per", "calls", "target"))
    print(row("", "sample", "range", "missed", "errors", "Hz", "sample", "per tick", "loses"))
    for name, tool in tools.items():
        median = Run(*map(statistics.median, zip(*runs[name])))
        costs = [run.cost for run in runs[name]]
        most = highest_rate(tool, python, busy, seconds, folder)
        calls = calls_per_sample(tool, python, busy, folder) if shutil.which("strace") else None
        print(
            row(
                name,
                f"{median.cost:.2f}",
                f"{min(costs):.2f}-{max(costs):.2f}",
                f"{median.missed:.1%}",
                f"{median.errors:.2%}",
                f"{most:.0f}",
                "" if calls is None else f"{calls:.2f}",
                "" if calls is None else f"{calls * THREADS:.1f}",
                f"{1 - median.loops / speed:.1%}",
            ),
            flush=True,
        )


def version_of(python):
    script = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
    return subprocess.check_output([python, "-c", script], universal_newlines=True).strip()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--farrier", required=True)
    parser.add_argument("--py-spy", required=True)
    parser.add_argument("--austin", nargs=argparse.REMAINDER, help="last: its command")
    parser.add_argument("--python", action="append", required=True, help="of the target")
    parser.add_argument("--busy", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} CPUs, {' '.join(os.uname()[:3])}")
    for python in arguments.python:
        version = version_of(python)
        minor = tuple(map(int, version.split(".")[:2]))
        tools = {
            "farrier": Farrier(arguments.farrier),
            "farrier, another CPU": Farrier(arguments.farrier, "--same-cpu", "no"),
            "py-spy --nonblocking": PySpy(arguments.py_spy),
        }
        if arguments.austin and minor < (3, 15):
            tools["Austin"] = Austin(*arguments.austin)
        if minor == (3, 15):
            tools["CPython's own"] = CPython(python)
        with tempfile.TemporaryDirectory() as folder:
            for busy in arguments.busy or (1, 4):
                compare(tools, python, version, busy, arguments, pathlib.Path(folder))


if __name__ == "__main__":
    main()

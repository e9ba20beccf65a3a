"""How true profilers' stacks are, side by side; scripts/peers_truth.sh calls it.

Each looks, from a CPU that is not the target's, at two busy threads. Of stack_tree.py every
possible stack is known: how many of those that a profiler tells cannot be? Of real_mix.py
the truth is what farrier sees while it is kept on the target's own CPU, where the target
cannot run meanwhile: how far is a profiler's self time from it? That is the total-variation
distance, the part of the time that it puts under a wrong function; what has no leaf counts
as wrong. Two such truths differ by the floor, which is chance.
"""

import argparse
import collections
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
APPS = ROOT / "fixtures/apps"
sys.path.insert(0, str(APPS))
import stack_tree  # noqa: E402

RATE = 1000
TARGET_CPU, OTHER_CPU, ANY_CPU = "0", "1", "0,1"
MARKS = ("(unsettled)", "(lost)")

Frame = collections.namedtuple("Frame", "function file line")


def ahead(priority, command):
    """The command, before all others of its CPU if that is allowed."""
    allowed = subprocess.run(["chrt", "--fifo", "1", "true"], stderr=subprocess.DEVNULL)
    return command if allowed.returncode else ["chrt", "--fifo", str(priority)] + command


def on_cpu(cpu, priority, command):
    return ["taskset", "-c", cpu] + ahead(priority, [str(word) for word in command])


class Target:
    """A fixture on its CPU."""

    def __init__(self, python, script):
        self.process = subprocess.Popen(
            on_cpu(TARGET_CPU, 10, [python, APPS / script]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            universal_newlines=True,
        )
        while self.process.stdout.readline() not in ("READY\n", ""):
            pass
        self.pid = str(self.process.pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def folded(text, frame, unit=1):
    """Stacks and how often each was seen, of the format that flame graphs are drawn from."""
    for line in text.splitlines():
        stack, _, weight = line.rpartition(" ")
        if not weight.isdigit():
            # A name that was read from the wrong place, with a line's end in it.
            yield [Frame("(garbage)", "?", 0)], 1
            continue
        frames = [frame(part) for part in stack.split(";")]
        yield [one for one in frames if one is not None], int(weight) / unit


def bracketed(part):
    """`name (file:line)`, of farrier and py-spy."""
    found = re.fullmatch(r"(.*) \((.*?)(?::(\d+))?\)", part)
    if not found:
        # What stands for a missing leaf; anything else is a label, such as the endpoint.
        return Frame(part, "", 0) if part in MARKS else None
    return Frame(found[1], found[2], int(found[3] or 0))


def coloned(part):
    """`file:name:line`, of CPython's own sampler; its first frame is the thread."""
    if part.startswith("tid:"):
        return None
    file, name, line = part.rsplit(":", 2) if part.count(":") >= 2 else ("", part, "0")
    return Frame(name, file, int(line))


class Mojo:
    """Austin's binary format, version 3."""

    def __init__(self, data):
        self.data, self.at = data, 4
        self.strings, self.frames = {}, {}

    def number(self):
        byte = self.data[self.at]
        value, shift = byte & 0x3F, 6
        while self.data[self.at] & 0x80:
            self.at += 1
            value |= (self.data[self.at] & 0x7F) << shift
            shift += 7
        self.at += 1
        return -value if byte & 0x40 else value

    def text(self):
        end = self.data.index(0, self.at)
        text, self.at = self.data[self.at : end].decode(errors="replace"), end + 1
        return text

    def stacks(self):
        stack = None
        while self.at < len(self.data):
            event = self.data[self.at]
            self.at += 1
            if event == 1:  # metadata
                self.text(), self.text()
            elif event == 2:  # a sample: process, interpreter, thread
                if stack:
                    yield stack, 1
                stack = []
                self.number(), self.number(), self.text()
            elif event == 3:  # a new frame
                key, file, name, line, _, _, _ = [self.number() for _ in range(7)]
                self.frames[key] = Frame(self.strings.get(name, "?"), self.strings.get(file, "?"), line)
            elif event == 4:  # an invalid one
                stack.append(Frame("(invalid)", "", 0))
            elif event == 5:
                stack.append(self.frames[self.number()])
            elif event == 6:
                self.text()
            elif event in (9, 10):  # time and memory
                self.number()
            elif event == 11:
                key = self.number()
                self.strings[key] = self.text()
            elif event not in (7, 8):  # garbage collection, idleness
                raise SystemExit("event %d is not known" % event)
        if stack:
            yield stack, 1


class Tool:
    """A profiler: how to call it, what it wrote, and what it says of its errors."""

    def __init__(self, name, command, read, errors=None, cpu=OTHER_CPU):
        self.name, self.command, self.read, self.errors = name, command, read, errors
        self.cpu = cpu

    def look(self, target, seconds, folder):
        output = folder / "output"
        if output.exists():
            output.unlink()
        command = on_cpu(self.cpu, 20, self.command(target.pid, str(seconds), str(output)))
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said = done.stdout.decode(errors="replace")
        said = re.sub(r"\x1b\[[0-9;]*m", "", said)
        stacks = list(self.read(output)) if output.exists() else []
        if not stacks:
            telling = [line for line in said.splitlines() if re.search("(?i)error|cannot|fail", line)]
            return stacks, " / ".join(line.strip() for line in telling[:2])
        found = self.errors and re.search(self.errors, said)
        return stacks, found[1] if found else "-"


def tools(arguments, version, python):
    def farrier(*more):
        def command(pid, seconds, output):
            call = [arguments.farrier, "record", "-p", pid, "-d", seconds, "-r", RATE, "-f", "folded"]
            return call + ["--max-cpu", "none", "--idle", "-o", output] + list(more)

        return command

    def py_spy(*more):
        def command(pid, seconds, output):
            call = [arguments.py_spy, "record", "-p", pid, "-d", seconds, "-r", RATE]
            return call + ["-f", "raw", "-o", output] + list(more)

        return command

    def austin(pid, seconds, output):
        return arguments.austin.split() + ["-i", "1ms", "-x", seconds, "-p", pid, "-o", output]

    def own(pid, seconds, output):
        call = [python, "-m", "profiling.sampling", "attach", "-r", RATE, "-d", seconds]
        return call + ["--collapsed", "-o", output, pid]

    def text(frame, unit=1):
        return lambda path: folded(path.read_text(), frame, unit)

    # Its weights are microseconds.
    farriers = text(bracketed, 1e6 / RATE)

    def mojo(path):
        return Mojo(path.read_bytes()).stacks()

    chosen = [
        Tool("farrier", farrier(), farriers, cpu=ANY_CPU),
        Tool("farrier --same-cpu no", farrier("--same-cpu", "no"), farriers),
        Tool("py-spy --nonblocking", py_spy("--nonblocking"), text(bracketed), r"Errors: (\d+)"),
        Tool("py-spy", py_spy(), text(bracketed), r"Errors: (\d+)"),
    ]
    if arguments.austin:
        chosen.append(Tool("austin", austin, mojo, r"(\d+)/\d+ \([\d.]+%\)"))
    if version >= (3, 15):
        chosen.append(Tool("profiling.sampling", own, text(coloned), r"Error rate: ([\d.]+)"))
    return chosen


def impossible(stacks):
    """The shares of stacks that cannot be: by their functions, and by their lines as well;
    and of those that have no leaf."""
    total = wrong = wrong_lines = without = 0
    for frames, weight in stacks:
        total += weight
        if frames and frames[-1].function in MARKS:
            without += weight
            frames = frames[:-1]
            if not frames:
                continue
        pairs = [(frame.function, frame.line) for frame in frames]
        if stack_tree.possible(pairs, lines=False):
            wrong += weight
        elif stack_tree.possible(pairs):
            wrong_lines += weight
    return wrong / total, wrong_lines / total, without / total


def self_time(stacks):
    """Shares by function. What is qualified in its name (`Class.method`) is not by all."""
    times = collections.Counter()
    for frames, weight in stacks:
        if frames:
            leaf = frames[-1]
            name = leaf.function if leaf.function in MARKS else leaf.function.rsplit(".", 1)[-1]
            times[pathlib.Path(leaf.file).name, name] += weight
    total = sum(times.values())
    return {name: time / total for name, time in times.items()}


def distance(one, other):
    return sum(abs(one.get(name, 0) - other.get(name, 0)) for name in {**one, **other}) / 2


def percent(share):
    return "{:.1f} %".format(share * 100)


def compare(arguments, version, python, folder):
    columns = "{:22} {:>10} {:>11} {:>8} {:>8} {:>7} {:>13} {:>8} {:>7}"
    heads = ("", "impossible", "wrong lines", "no leaf", "samples", "errors")
    heads += ("self time off", "samples", "errors")
    print("\nCPython " + ".".join(map(str, version)), flush=True)
    print(columns.format(*heads))
    chosen = tools(arguments, version, python)
    truth = Tool("", chosen[1].command, chosen[1].read, cpu=TARGET_CPU)
    with Target(python, "real_mix.py") as mix:
        truths = [self_time(truth.look(mix, arguments.seconds, folder)[0]) for _ in "12"]
        on_mix = [tool.look(mix, arguments.seconds, folder) for tool in chosen]
    with Target(python, "stack_tree.py") as tree:
        on_tree = [tool.look(tree, arguments.seconds, folder) for tool in chosen]
    for tool, (stacks, errors), (mixed, mix_errors) in zip(chosen, on_tree, on_mix):
        if not stacks or not mixed:
            print(f"{tool.name:22} failed:", mix_errors if stacks else errors)
            continue
        shares = [percent(share) for share in impossible(stacks)]
        off = percent(distance(self_time(mixed), truths[0]))
        counts = [round(sum(count for _, count in each)) for each in (stacks, mixed)]
        print(columns.format(tool.name, *shares, counts[0], errors, off, counts[1], mix_errors))
    floor = percent(distance(*truths))
    print(columns.format("(floor)", "", "", "", "", "", floor, "", ""), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--farrier", required=True)
    parser.add_argument("--py-spy", required=True)
    parser.add_argument("--austin", help="the command, if there is one that runs here")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("pythons", nargs="+", help="such as 3.11=/path/to/python")
    arguments = parser.parse_args()
    print(f"{RATE} Hz, {arguments.seconds} s; the target and the profiler on CPUs of their own")
    with tempfile.TemporaryDirectory() as folder:
        for python in arguments.pythons:
            version, path = python.split("=")
            compare(arguments, tuple(map(int, version.split("."))), path, pathlib.Path(folder))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Makes a row of farrier's layout tables from CPython's own headers.

    offsets.py [--free-threaded] [--debug] [--aarch64] [--cc COMPILER] PYTHON
    offsets.py --all [--check] PYTHON ...

PYTHON is an installed interpreter with headers, of any version from 3.8 on. What is
printed is what `src/python/layout` must hold for it, as Rust's `{:#?}` shows it: the
`Layout` of `tables.rs` up to 3.12, the `Stated` and `Unstated` of `debug_offsets.rs` after.

Nothing is run but the compiler: a C file that includes the headers notes every offset
in its assembly. So a build that is not at hand is a matter of a definition
(`Py_GIL_DISABLED`, `Py_DEBUG`), and another architecture of another compiler.

--all writes fixtures/layouts/X.Y.txt for each PYTHON, which a test compares with the
tables; --check compares these files instead, in each flavour that must give the same.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures/layouts"

HEADERS = """
#define Py_BUILD_CORE 1
%(defines)s
#include <Python.h>
#include <stddef.h>
%(includes)s
"""

# What of the internal headers is needed, where a version has it.
INCLUDES = [
    "frameobject.h",
    "internal/pycore_code.h",
    "internal/pycore_dict.h",
    "internal/pycore_frame.h",
    "internal/pycore_gil.h",
    "internal/pycore_interp.h",
    "internal/pycore_interpframe.h",
    "internal/pycore_object.h",
    "internal/pycore_pystate.h",
    "internal/pycore_runtime.h",
    "internal/pycore_stackref.h",
    "internal/pycore_debug_offsets.h",
]


class C(str):
    """An integer constant expression of C."""


class Bits(str):
    """A bit field of a str's state: the lowest bit that it has there."""


class Less:
    """The difference of two."""

    def __init__(self, one, other, plus=0):
        self.one, self.other, self.plus = one, other, plus


def at(structure, field):
    return C(f"offsetof({structure}, {field})")


def size(structure):
    return C(f"sizeof({structure})")


class Struct:
    def __init__(self, name, /, **fields):
        self.name, self.fields = name, fields


class Variant:
    def __init__(self, name, value):
        self.name, self.value = name, value


def some(value):
    return "None" if value is None else Variant("Some", value)


def pick(minor, *columns):
    """Of (first minor version, value) pairs the last that is not newer."""
    return [value for first, value in columns if first <= minor][-1]


def gil(place, minor):
    struct = "struct _gil_runtime_state"
    return Struct(
        "GilLayout",
        place=place,
        enabled="None",
        interval=at(struct, "interval"),
        last_holder=at(struct, "last_holder"),
        locked=at(struct, "locked"),
        switch_number=at(struct, "switch_number"),
        size=size(struct),
    )


def table_row(minor):
    """`Layout` of a version that does not state its own offsets."""
    code, thread, interpreter = "PyCodeObject", "PyThreadState", "PyInterpreterState"
    frame = pick(minor, (8, "PyFrameObject"), (11, "_PyInterpreterFrame"))
    data_stack = minor >= 11
    last = at(thread, "datastack_limit") if minor == 11 else at(thread, "datastack_limit")
    if not data_stack:
        last = at(thread, "thread_id")
    current = Variant("Direct", at(thread, "frame"))
    if data_stack:
        current = Struct(
            "ThroughCFrame",
            cframe=at(thread, "cframe"),
            current_frame=at(pick(minor, (11, "_PyCFrame")), "current_frame"),
        )
    instruction = Struct("Index", offset=at(frame, "f_lasti"), unit=C("sizeof(_Py_CODEUNIT)"))
    if minor < 10:
        # f_lasti counts bytes there.
        instruction.fields["unit"] = 1
    if data_stack:
        instruction = Struct("Pointer", offset=at(frame, "prev_instr"))
    if minor < 10:
        liveness = Struct("Executing", offset=at(frame, "f_executing"), values=[1, 1])
        liveness.fields["generator"] = at(frame, "f_gen")
    elif minor == 10:
        states = [C("FRAME_EXECUTING"), C("FRAME_UNWINDING")]
        liveness = Struct("Executing", offset=at(frame, "f_state"), values=states)
        liveness.fields["generator"] = at(frame, "f_gen")
    elif minor == 11:
        liveness = Struct(
            "Tiling",
            owner=at(frame, "owner"),
            shim_from=255,
            size=Struct(
                "Computed",
                nlocalsplus=at(code, "co_nlocalsplus"),
                stacksize=at(code, "co_stacksize"),
                specials=C("FRAME_SPECIALS_SIZE"),
            ),
        )
    else:
        liveness = Struct(
            "Tiling",
            owner=at(frame, "owner"),
            shim_from=C("FRAME_OWNED_BY_CSTACK"),
            size=Struct("Stated", framesize=at(code, "co_framesize")),
        )
    names = Struct(
        "Three",
        varnames=at(code, "co_varnames"),
        cellvars=at(code, "co_cellvars"),
        freevars=at(code, "co_freevars"),
    )
    if data_stack:
        names = Struct("One", localsplusnames=at(code, "co_localsplusnames"))
    adaptive = at(code, "co_code_adaptive") if data_stack else None
    modules = pick(minor, (8, "modules"), (12, "imports.modules"))
    place = Variant("InRuntime", at("_PyRuntimeState", "ceval.gil"))
    if minor >= 12:
        place = Variant("BehindInterpreter", at(interpreter, "ceval.gil"))
    attributes = "DictOffset"
    if minor == 11:
        # _PyObject_ValuesPointer is a word before it (Include/internal/pycore_object.h).
        attributes = Struct(
            "ManagedTwoWords", values=Less("MANAGED_DICT_OFFSET", "8"), dict=C("MANAGED_DICT_OFFSET")
        )
    elif minor == 12:
        # _PyObject_DictOrValuesPointer; the header has the number in a function only.
        attributes = Struct("ManagedTagged", word=-24)
    return Struct(
        "Layout",
        trust="Known",
        free_threaded="false",
        runtime=Struct("RuntimeLayout", interpreters_head=at("_PyRuntimeState", "interpreters.head")),
        interpreter=Struct(
            "InterpreterLayout",
            next=at(interpreter, "next"),
            id=at(interpreter, "id"),
            threads_head=at(interpreter, pick(minor, (8, "tstate_head"), (11, "threads.head"))),
            modules=at(interpreter, modules),
            code_object_generation="None",
        ),
        collecting=pick(
            minor,
            (8, Variant("InRuntime", at("_PyRuntimeState", "gc.collecting"))),
            (9, Variant("InInterpreter", at(interpreter, "gc.collecting"))),
        ),
        gil=gil(place, minor),
        thread=Struct(
            "ThreadLayout",
            read_size=Less(last, "0", plus=8),
            next=at(thread, "next"),
            interp=at(thread, "interp"),
            current_frame=current,
            thread_id=at(thread, "thread_id"),
            native_thread_id=some(at(thread, "native_thread_id") if data_stack else None),
            datastack=some(
                Struct(
                    "DataStackLayout",
                    chunk=at(thread, "datastack_chunk"),
                    top=at(thread, "datastack_top"),
                )
                if data_stack
                else None
            ),
        ),
        frame=Struct(
            "FrameLayout",
            # As far as its fields go.
            size=at(frame, pick(minor, (8, "f_localsplus"), (11, "localsplus"))),
            code=at(frame, "f_code"),
            previous=at(frame, pick(minor, (8, "f_back"), (11, "previous"))),
            instruction=instruction,
            liveness=liveness,
            tag_mask=0,
            localsplus=at(frame, pick(minor, (8, "f_localsplus"), (11, "localsplus"))),
        ),
        code=Struct(
            "CodeLayout",
            size=size(code),
            filename=at(code, "co_filename"),
            name=at(code, "co_name"),
            qualname=some(at(code, "co_qualname") if data_stack else None),
            firstlineno=at(code, "co_firstlineno"),
            linetable=at(code, pick(minor, (8, "co_lnotab"), (10, "co_linetable"))),
            local_names=names,
            instructions=some(adaptive),
            thread_copies="None",
            code_units=some(at("PyVarObject", "ob_size") if data_stack else None),
            firsttraceable=some(at(code, "_co_firsttraceable") if data_stack else None),
        ),
        object=Struct(
            "ObjectLayout",
            ob_type=at("PyObject", "ob_type"),
            ob_size=at("PyVarObject", "ob_size"),
            unicode_length=at("PyASCIIObject", "length"),
            unicode_state=at("PyASCIIObject", "state"),
            unicode_state_shift=Less(Bits("kind"), "2"),
            unicode_ascii_data=size("PyASCIIObject"),
            unicode_compact_data=size("PyCompactUnicodeObject"),
            bytes_data=at("PyBytesObject", "ob_sval"),
            tuple_items=at("PyTupleObject", "ob_item"),
            dict_keys=at("PyDictObject", "ma_keys"),
            dict_values=at("PyDictObject", "ma_values"),
            type_name=at("PyTypeObject", "tp_name"),
            type_basicsize=at("PyTypeObject", "tp_basicsize"),
            type_itemsize=at("PyTypeObject", "tp_itemsize"),
            type_flags=at("PyTypeObject", "tp_flags"),
            type_dictoffset=at("PyTypeObject", "tp_dictoffset"),
            heap_type_cached_keys=at("PyHeapTypeObject", "ht_cached_keys"),
            cell_value=at("PyCellObject", "ob_ref"),
            dict_keys_layout=pick(minor, (8, "Sized"), (11, "Logarithmic")),
            int_format=pick(minor, (8, "SignedSize"), (12, "Tagged")),
        ),
        lines=pick(minor, (8, "Lnotab"), (10, "Pep626"), (11, "Locations")),
        attributes=attributes,
    )


def stated_row(minor):
    """`Stated` of a version with `_Py_DebugOffsets`: where it states what."""

    def stated(field, since=13):
        position = at("_Py_DebugOffsets", field)
        if since == 13:
            return position
        return some(position if minor >= since else None)

    return Struct(
        "Stated",
        minor=minor,
        interpreters_head=stated("runtime_state.interpreters_head"),
        interpreter_id=stated("interpreter_state.id"),
        interpreter_next=stated("interpreter_state.next"),
        threads_head=stated("interpreter_state.threads_head"),
        imports_modules=stated("interpreter_state.imports_modules"),
        ceval_gil=stated("interpreter_state.ceval_gil"),
        code_object_generation=stated("interpreter_state.code_object_generation", 14),
        interpreter_gc=stated("interpreter_state.gc"),
        gc_collecting=stated("gc.collecting"),
        thread_next=stated("thread_state.next"),
        thread_interp=stated("thread_state.interp"),
        thread_current_frame=stated("thread_state.current_frame"),
        thread_id=stated("thread_state.thread_id"),
        native_thread_id=stated("thread_state.native_thread_id"),
        datastack_chunk=stated("thread_state.datastack_chunk"),
        frame_size=stated("interpreter_frame.size"),
        frame_previous=stated("interpreter_frame.previous"),
        frame_executable=stated("interpreter_frame.executable"),
        frame_instr_ptr=stated("interpreter_frame.instr_ptr"),
        frame_localsplus=stated("interpreter_frame.localsplus"),
        frame_owner=stated("interpreter_frame.owner"),
        code_size=stated("code_object.size"),
        code_filename=stated("code_object.filename"),
        code_name=stated("code_object.name"),
        code_qualname=stated("code_object.qualname"),
        code_linetable=stated("code_object.linetable"),
        code_firstlineno=stated("code_object.firstlineno"),
        code_localsplusnames=stated("code_object.localsplusnames"),
        code_instructions=stated("code_object.co_code_adaptive"),
        code_thread_copies=stated("code_object.co_tlbc", 14),
        ob_type=stated("pyobject.ob_type"),
        type_name=stated("type_object.tp_name"),
        type_flags=stated("type_object.tp_flags"),
        type_basicsize=stated("type_object.tp_basicsize", 15),
        type_dictoffset=stated("type_object.tp_dictoffset", 15),
        tuple_items=stated("tuple_object.ob_item"),
        tuple_size=stated("tuple_object.ob_size"),
        dict_keys=stated("dict_object.ma_keys"),
        dict_values=stated("dict_object.ma_values"),
        bytes_data=stated("bytes_object.ob_sval"),
        unicode_state=stated("unicode_object.state"),
        unicode_length=stated("unicode_object.length"),
        ascii_object_size=stated("unicode_object.asciiobject_size"),
        compact_unicode_object_size=stated("unicode_object.compactunicodeobject_size", 15),
        heap_type_cached_keys=stated("heap_type_object.ht_cached_keys", 15),
    )


def unstated_row(minor, free_threaded):
    """What no header states, and what `debug_offsets.rs` concludes from what is stated."""
    code, thread, types = "PyCodeObject", "PyThreadState", "PyTypeObject"
    tags = pick(minor, (13, "Py_TAG_DEFERRED" if free_threaded else "0"), (14, "Py_TAG_BITS | Py_INT_TAG"))
    row = Struct(
        "Unstated",
        tag_mask=C(tags),
        heap_type_cached_keys=at("PyHeapTypeObject", "ht_cached_keys"),
        managed_dict=C("MANAGED_DICT_OFFSET"),
        firsttraceable_before=Less(at(code, "co_code_adaptive"), at(code, "_co_firsttraceable")),
        unicode_state_shift=Less(Bits("kind"), "2"),
    )
    frames = "FRAME_OWNED_BY_CSTACK" if minor == 13 else "FRAME_OWNED_BY_INTERPRETER"
    lock = "struct _gil_runtime_state"
    fields = ["interval", "last_holder", "locked", "switch_number"]
    first = 8 if free_threaded else 0
    concluded = [(f"GIL {field}", at(lock, field), first + 8 * n) for n, field in enumerate(fields)]
    # Two mutexes besides; they are what differs between architectures.
    concluded.append(("GIL size", Less(size(lock), "2 * sizeof(pthread_mutex_t)"), first + 128))
    if free_threaded:
        concluded.append(("GIL enabled", at(lock, "enabled"), 0))
    concluded += [
        ("datastack_top", Less(at(thread, "datastack_top"), at(thread, "datastack_chunk")), 8),
        ("co_framesize", Less(at(code, "co_framesize"), at(code, "co_firstlineno")), 8),
        ("tp_basicsize", Less(at(types, "tp_basicsize"), at(types, "tp_name")), 8),
        ("tp_itemsize", Less(at(types, "tp_itemsize"), at(types, "tp_name")), 16),
        ("tp_dictoffset", Less(at(types, "tp_dictoffset"), at(types, "tp_flags")), 120),
        ("compact str", Less(size("PyCompactUnicodeObject"), size("PyASCIIObject")), 16),
        ("cell", Less(at("PyCellObject", "ob_ref"), at("PyVarObject", "ob_size")), 0),
        ("compact bit", Less(Bits("compact"), Bits("kind")), 3),
        ("ascii bit", Less(Bits("ascii"), Bits("kind")), 4),
        ("shim owner", C(frames), 3),
        ("chunk.size", at("_PyStackChunk", "size"), 8),
        ("chunk.top", at("_PyStackChunk", "top"), 16),
        ("chunk.data", at("_PyStackChunk", "data"), 24),
        ("dict values", at("struct _dictvalues", "values"), 8),
    ]
    return row, concluded


def expressions(tree):
    if isinstance(tree, (C, Bits)):
        yield tree
    elif isinstance(tree, Less):
        for part in (tree.one, tree.other):
            yield part if isinstance(part, (C, Bits)) else C(part)
    elif isinstance(tree, Struct):
        for value in tree.fields.values():
            yield from expressions(value)
    elif isinstance(tree, Variant):
        yield from expressions(tree.value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from expressions(value)


def text(tree, values, indent=""):
    """As `{:#?}` writes it."""
    deeper = indent + "    "
    if isinstance(tree, (C, Bits)):
        return str(values[tree])
    if isinstance(tree, Less):
        return str(values[C(tree.one)] - values[C(tree.other)] + tree.plus)
    if isinstance(tree, Struct):
        fields = (f"{deeper}{name}: {text(value, values, deeper)},\n" for name, value in tree.fields.items())
        return f"{tree.name} {{\n{''.join(fields)}{indent}}}"
    if isinstance(tree, Variant):
        return f"{tree.name}(\n{deeper}{text(tree.value, values, deeper)},\n{indent})"
    if isinstance(tree, list):
        items = (f"{deeper}{text(value, values, deeper)},\n" for value in tree)
        return f"[\n{''.join(items)}{indent}]"
    return str(tree)


class Build:
    """One flavour of one interpreter's headers."""

    def __init__(self, python, compiler="cc", defines=()):
        ask = (
            "import sys, sysconfig as s; print(sys.version_info[1], s.get_path('include'), "
            "s.get_config_var('MULTIARCH'), sep='\\n')"
        )
        answer = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True)
        minor, include, multiarch = answer.stdout.splitlines()
        self.minor, self.include = int(minor), pathlib.Path(include)
        if not (self.include / "Python.h").is_file():
            raise SystemExit(f"{python} has no headers ({self.include}/Python.h)")
        # Debian keeps what differs between architectures apart.
        apart = self.include.parent / multiarch / self.include.name
        after = f"-idirafter{self.include.parent}"
        self.paths = [f"-I{apart}", after] if apart.is_dir() else []
        self.compiler, self.defines = compiler, defines

    def values(self, *trees):
        wanted = sorted(set(expressions(list(trees))), key=lambda one: (type(one).__name__, one))
        includes = [name for name in INCLUDES if (self.include / name).is_file()]
        source = HEADERS % {
            "defines": "\n".join(f"#undef {name}\n#define {name} 1" for name in self.defines),
            "includes": "\n".join(f"#include <{name}>" for name in includes),
        }
        body = []
        for number, expression in enumerate(wanted):
            if isinstance(expression, Bits):
                source += (
                    "union { __typeof__(((PyASCIIObject *)0)->state) state; unsigned word; }\n"
                    f"    bits_{number} = {{ .state = {{ .{expression} = 1 }} }};\n"
                )
            else:
                body.append(f'__asm__("@@ {number} %c0" :: "i"((long)({expression})));')
        source += "void note(void) {\n" + "\n".join(body) + "\n}\n"
        command = [self.compiler, "-S", "-O0", "-w", "-x", "c", "-o", "-"]
        command += ["-include", "pyconfig.h"] if self.defines else []
        command += [*self.paths, f"-I{self.include}", f"-I{self.include}/internal", "-"]
        done = subprocess.run(command, input=source, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}:\n{done.stderr[-4000:]}")
        found = {C("0"): 0, C("8"): 8, C("2"): 2}
        for number, value in re.findall(r"@@ (\d+) \$?(-?\d+)", done.stdout):
            found[wanted[int(number)]] = int(value)
        for number, data in re.findall(r"^bits_(\d+):\n((?:\s+\..*\n)+)", done.stdout, re.M):
            word, offset = 0, 0
            sizes = {"byte": 1, "value": 2, "hword": 2, "short": 2, "long": 4, "word": 4}
            for kind, amount in re.findall(r"\.(\w+)\s+(\d+)", data):
                if kind == "zero":
                    offset += int(amount)
                elif kind in sizes:
                    word |= int(amount) << 8 * offset
                    offset += sizes[kind]
            found[wanted[int(number)]] = (word & -word).bit_length() - 1
        return found


def row(python, free_threaded=False, debug=False, compiler="cc"):
    defines = ["Py_GIL_DISABLED", "WITH_MIMALLOC"] if free_threaded else []
    defines += ["Py_DEBUG", "Py_REF_DEBUG"] if debug else []
    build = Build(python, compiler, defines)
    minor = build.minor
    if minor < 13:
        tree = table_row(minor)
        return minor, text(tree, build.values(tree)) + "\n"
    if minor > 15:
        raise SystemExit(f"3.{minor} needs a look at its headers first")
    tree = stated_row(minor)
    unstated, concluded = unstated_row(minor, free_threaded)
    values = build.values(tree, unstated, [value for _, value, _ in concluded])
    for what, value, expected in concluded:
        if text(value, values) != str(expected):
            raise SystemExit(f"3.{minor}: {what} is {text(value, values)}, not {expected}")
    return minor, f"{text(tree, values)}\n{text(unstated, values)}\n"


def flavours(minor):
    """Which must give what the plain build gives, and which have their own file."""
    yield "", {}
    yield "", {"debug": True}
    if minor >= 13:
        yield "t", {"free_threaded": True}
        yield "t", {"free_threaded": True, "debug": True}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--free-threaded", action="store_true")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("python", nargs="+")
    options = parser.parse_args()
    if not options.all:
        for python in options.python:
            print(row(python, options.free_threaded, options.debug, options.cc)[1], end="")
        return
    wrong = 0
    for python in options.python:
        minor, _ = row(python)
        for name, flavour in flavours(minor):
            path = FIXTURES / f"3.{minor}{name}.txt"
            _, found = row(python, compiler=options.cc, **flavour)
            if options.check or "debug" in flavour:
                same = path.read_text() == found
                print(f"3.{minor}{name} {' '.join(flavour) or 'plain'}: {'same' if same else 'DIFFERS'}")
                wrong += not same
            else:
                path.parent.mkdir(exist_ok=True)
                path.write_text(found)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()

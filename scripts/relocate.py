#!/usr/bin/env python3
"""Makes an executable of another Debian release run where it was unpacked.

    relocate.py EXECUTABLE RESULT ROOT [FINAL_ROOT]

EXECUTABLE lies somewhere under ROOT with its dynamic linker and its libraries;
RESULT is a copy that names those by their full paths (PT_INTERP and DT_RPATH), as if
ROOT were called FINAL_ROOT. Nothing else in it moves: the two texts go to the unused
end of the first segment's last page and the tag to a spare place of the dynamic
section (binutils leaves some), so it stays the executable that the distribution built.
"""

import os
import struct
import sys

PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
DYNAMIC = struct.Struct("<QQ")
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NULL, DT_STRTAB, DT_RPATH = 0, 5, 15
PAGE = 4096


def relocate(image, root, final_root):
    def read(form, at):
        return list(form.unpack_from(image, at))

    if image[:6] != b"\x7fELF\x02\x01":
        raise SystemExit("not a 64-bit little-endian ELF file")
    (table,) = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    places = [table + size * index for index in range(count)]
    headers = {}
    for place in places:
        headers.setdefault(struct.unpack_from("<I", image, place)[0], place)
    load = read(PROGRAM_HEADER, headers[PT_LOAD])
    interpreter = read(PROGRAM_HEADER, headers[PT_INTERP])
    dynamic = read(PROGRAM_HEADER, headers[PT_DYNAMIC])

    # The dynamic linker's path, and the folders of the libraries.
    start = interpreter[2]
    linker = bytes(image[start : start + interpreter[5]]).rstrip(b"\0").decode()
    linker = os.path.realpath(root + linker)
    triplet = f"{os.uname().machine}-linux-gnu"
    texts = [
        f"{final_root}/{os.path.relpath(linker, root)}".encode() + b"\0",
        f"{final_root}/usr/lib/{triplet}".encode() + b"\0",
    ]

    # Both go after the first segment, where its last page has room.
    _, _, offset, address, _, filled, _, _ = load
    free = offset + filled
    room = -free % PAGE
    needed = sum(map(len, texts))
    if needed > room or any(image[free : free + needed]):
        raise SystemExit(f"no room for {needed} bytes after the first segment ({room} there)")
    image[free : free + needed] = b"".join(texts)
    load[5] = load[6] = filled + needed
    PROGRAM_HEADER.pack_into(image, headers[PT_LOAD], *load)
    interpreter[2] = free
    interpreter[3] = interpreter[4] = address + filled
    interpreter[5] = interpreter[6] = len(texts[0])
    PROGRAM_HEADER.pack_into(image, headers[PT_INTERP], *interpreter)

    # DT_RPATH counts from the start of the string table.
    entries = range(dynamic[2], dynamic[2] + dynamic[5], DYNAMIC.size)
    tags = [read(DYNAMIC, at) for at in entries]
    end = next(index for index, (tag, _) in enumerate(tags) if tag == DT_NULL)
    if end + 1 >= len(tags):
        raise SystemExit("no spare place in the dynamic section")
    strings = next(value for tag, value in tags if tag == DT_STRTAB)
    rpath = address + filled + len(texts[0]) - strings
    DYNAMIC.pack_into(image, entries[end], DT_RPATH, rpath)


def main():
    source, result, root, *final_root = sys.argv[1:]
    root = os.path.realpath(root)
    with open(source, "rb") as file:
        image = bytearray(file.read())
    relocate(image, root, final_root[0] if final_root else root)
    with open(result, "wb") as file:
        file.write(image)
    os.chmod(result, 0o755)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Read the stack of each thread in a dump as crash does: the whole span at once.

    spans.py VMLINUX DUMP

For a host whose crash does not know this kernel yet. DUMP is an ELF file of
makedumpfile or of QEMU; from the latter, of a kernel without KASLR. An address counts
as mapped if the page tables say "present". Prints how many of the spans can be read.
"""
import json
import re
import shutil
import struct
import subprocess
import sys

PAGE = 4096
THREAD_SIZE = 8 * PAGE
TEXT = 0xffffffff80000000
PRESENT, HUGE = 1, 0x80
FRAME = 0x000ffffffffff000


class Hole(Exception):
    """An address that is not mapped, or not in the dump."""


class Dump:
    """The memory of a machine, by physical addresses, and what the kernel says of itself."""

    def __init__(self, path):
        self.file = open(path, "rb")
        header = self.file.read(64)
        if header[:5] != b"\x7fELF\x02":
            sys.exit(f"{path} is not an ELF dump")
        offset, = struct.unpack_from("<Q", header, 32)
        size, number = struct.unpack_from("<HH", header, 54)
        self.parts, self.info = [], {}
        for n in range(number):
            self.file.seek(offset + n * size)
            kind, _, at, _, physical, filled, length, _ = struct.unpack(
                "<IIQQQQQQ", self.file.read(56))
            if kind == 1:
                self.parts.append((physical, filled, length, at))
            elif kind == 4:
                self.file.seek(at)
                notes = self.file.read(filled)
                self.info.update(re.findall(r"^([\w()]+)=(\S+)$",
                                            notes.decode("latin1"), re.M))

    def read(self, physical, size):
        """What is left out because it is zeroes reads as zeroes."""
        for start, filled, length, at in self.parts:
            if start <= physical and physical + size <= start + length:
                self.file.seek(at + physical - start)
                inside = max(0, min(size, start + filled - physical))
                return self.file.read(inside).ljust(size, b"\0")
        raise Hole(hex(physical))

    def word(self, physical):
        """A word of physical memory."""
        return struct.unpack("<Q", self.read(physical, 8))[0]


class Kernel:
    """Its symbols, its types, and its virtual memory in a dump."""

    def __init__(self, vmlinux, dump):
        self.dump = dump
        names = subprocess.run(["nm", vmlinux], check=True, capture_output=True, text=True).stdout
        self.symbols = {line.split()[2]: int(line.split()[0], 16)
                        for line in names.splitlines() if len(line.split()) == 3}
        bpftool = shutil.which("bpftool") or "/usr/sbin/bpftool"
        types = subprocess.run([bpftool, "-j", "btf", "dump", "file", vmlinux], check=True,
                               capture_output=True).stdout
        self.types = {t["id"]: t for t in json.loads(types)["types"]}
        self.structs = {t["name"]: t for t in self.types.values() if t["kind"] == "STRUCT"}
        self.slide = int(dump.info.get("KERNELOFFSET", "0"), 16)
        self.text = int(dump.info.get("NUMBER(phys_base)", "0")) - TEXT
        self.levels = 4
        if self.variable("__pgtable_l5_enabled") & 0xffffffff:
            self.levels = 5
        self.direct = self.variable("page_offset_base")

    def address(self, symbol):
        """Where it is in this run."""
        return self.symbols[symbol] + self.slide

    def variable(self, symbol):
        """Of the kernel's image, for which no page table is needed."""
        return self.dump.word(self.address(symbol) + self.text)

    def physical(self, address):
        """As the processor would, of a table that is found through the image."""
        table = self.address("init_top_pgt") + self.text
        for level in range(self.levels - 1, -1, -1):
            shift = 12 + 9 * level
            entry = self.dump.word(table + 8 * ((address >> shift) & 511))
            if not entry & PRESENT:
                raise Hole(hex(address))
            table = entry & FRAME
            if level == 0 or level < 3 and entry & HUGE:
                mask = (1 << shift) - 1
                return (table & ~mask) | (address & mask)
        raise Hole(hex(address))

    def read(self, address, size):
        """Page by page; each of them has to be there."""
        data = b""
        while size:
            part = min(size, PAGE - address % PAGE)
            data += self.dump.read(self.physical(address), part)
            address, size = address + part, size - part
        return data

    def word(self, address):
        """A word of virtual memory."""
        return struct.unpack("<Q", self.read(address, 8))[0]

    def offset(self, name, path):
        """Bytes from the start of a structure to a member, anonymous ones looked through."""
        found = self.find(self.structs[name], path)
        if found is None:
            sys.exit(f"struct {name} has no {path}")
        return found

    def find(self, of, member):
        """The same, of a type."""
        for part in of["members"]:
            if part["name"] == member:
                return part["bits_offset"] // 8
            inner = self.types.get(part["type_id"], {})
            if part["name"] == "(anon)" and "members" in inner:
                below = self.find(inner, member)
                if below is not None:
                    return part["bits_offset"] // 8 + below
        return None

    def entries(self, head, offset):
        """Each structure that a list leads through, its head apart."""
        at = self.word(head)
        while at != head:
            yield at - offset
            at = self.word(at)

    def threads(self):
        """Each thread, but for the idle ones of other CPUs."""
        tasks = self.offset("task_struct", "tasks")
        node = self.offset("task_struct", "thread_node")
        init = self.address("init_task")
        yield init
        for leader in self.entries(init + tasks, tasks):
            signal = self.word(leader + self.offset("task_struct", "signal"))
            yield from self.entries(signal + self.offset("signal_struct", "thread_head"), node)


def main(vmlinux, path):
    kernel = Kernel(vmlinux, Dump(path))
    stack, comm = (kernel.offset("task_struct", name) for name in ("stack", "comm"))
    whole, holes, zeroes = 0, 0, 0
    for task in kernel.threads():
        try:
            span = kernel.read(kernel.word(task + stack), THREAD_SIZE)
        except Hole as hole:
            holes += 1
            name = kernel.read(task + comm, 16).split(b"\0")[0].decode("latin1")
            print(f"{name}: nothing at {hole}")
            continue
        whole += 1
        # A trimmed one: all but its top page.
        zeroes += not any(span[:THREAD_SIZE - PAGE])
        # Each of them has been on its stack.
        if not any(span[THREAD_SIZE - PAGE:]):
            sys.exit(f"the stack of {task:#x} is empty")
    print(f"spans: {whole} whole, {zeroes} of them with one page, {holes} with holes")


if __name__ == "__main__":
    main(*sys.argv[1:])

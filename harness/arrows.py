#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Hold what the rooms call of each other against the document that draws it.

    arrows.py OBJECTS DOCUMENT FILE.c...

Of each file, the symbols that its object defines for others; a file that names
one of them has an arrow there. Tests, which are included, do not count.
"""
import difflib
import re
import subprocess
import sys

MARK = ".. arrows: make check compares the block below with the code\n"
TOKENS = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"|(\w+)', re.S)


def defined(path):
    """What an object has for others: functions and variables."""
    output = subprocess.run(["nm", "-g", "--defined-only", path], check=True,
                            capture_output=True, text=True).stdout
    return {line.split()[2] for line in output.splitlines() if line.split()[1] in "TDBRV"}


def named(path):
    """The identifiers in a source file, without comments and strings."""
    with open(path) as file:
        return {match[1] for match in TOKENS.finditer(file.read()) if match[1]}


def arrows(objects, files):
    """The drawing, as lines."""
    owners = {symbol: file for file in files
              for symbol in defined(f"{objects}/{file[:-1]}o")
              if not symbol.startswith("__")}
    lines = []
    for file in files:
        calls = {}
        for symbol in sorted(named(file) & set(owners)):
            if owners[symbol] != file:
                calls.setdefault(owners[symbol], []).append(symbol)
        lines += [f"    {file}\n"] + [f"        -> {owner}: {' '.join(symbols)}\n"
                                      for owner, symbols in sorted(calls.items())]
    return lines


def drawn(document):
    """The block of the document behind the mark."""
    with open(document) as file:
        lines = file.readlines()
    if MARK not in lines:
        sys.exit(f"{document} has no line '{MARK.strip()}'")
    block = []
    for line in lines[lines.index(MARK) + 1:]:
        if line.startswith("    "):
            block.append(line)
        elif block and line.strip():
            break
    return block


def main(objects, document, *files):
    difference = list(difflib.unified_diff(drawn(document), arrows(objects, sorted(files)),
                                           document, "the code"))
    sys.stdout.writelines(difference)
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

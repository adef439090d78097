#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Have kdb, on the serial console of a guest that has stopped in it, show the stacks of
all that sleep, and go on.

    kdb.py SOCKET
"""
import sys

from qmp import SECONDS, connect, wait_for

PROMPT = b"kdb> "
COMMANDS = ("set LINES=100000", "set BTAPROMPT=0", "bta S", "go")


def main(path):
    console = wait_for("QEMU", lambda: connect(path))
    console.settimeout(SECONDS)
    seen = b""
    for command in COMMANDS:
        while not seen.endswith(PROMPT):
            data = console.recv(4096)
            if not data:
                sys.exit(f"the guest ended before kdb had {command!r}")
            seen = (seen + data)[-4096:]
        seen = b""
        console.sendall(command.encode() + b"\r")
    while console.recv(4096):
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])

#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Commands for QEMU, by its monitor's protocol.

    qmp.py dump SOCKET RESULTS DUMP   dump a guest that runs, when it says "ready"
    qmp.py wake SOCKET                wake a guest whenever it sleeps, until killed
"""
import json
import socket
import sys
import time

SECONDS = 600


def wait_for(what, found, seconds=SECONDS):
    """Until found() says so. QEMU may not even have started yet."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if (value := found()) is not None:
                return value
        except OSError:
            pass
        time.sleep(0.2)
    sys.exit(f"waited in vain for {what}")


def connect(path):
    """A connection to QEMU."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


class Qemu:
    """A monitor that takes commands."""

    def __init__(self, path):
        self.socket = connect(path)
        self.lines = self.socket.makefile("rw")
        self.lines.readline()
        self.execute("qmp_capabilities")

    def execute(self, command, **arguments):
        """Send a command, wait for its answer; events may come before that."""
        self.lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.lines.flush()
        for line in self.lines:
            answer = json.loads(line)
            if "error" in answer:
                sys.exit(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return


def is_ready(path):
    """Has the guest said so?"""
    with open(path, errors="replace") as file:
        return True if "ready" in file.read() else None


def dump(path, results, vmcore):
    """Dump it, and that is its end."""
    qemu = wait_for("QEMU", lambda: Qemu(path))
    wait_for("the guest", lambda: is_ready(results))
    qemu.execute("dump-guest-memory", paging=False, protocol=f"file:{vmcore}")
    qemu.execute("quit")


def wake(path):
    """One QEMU after the other: a guest that sleeps on disk has ended it."""
    while True:
        qemu = wait_for("QEMU", lambda: Qemu(path), float("inf"))
        try:
            for line in qemu.lines:
                if json.loads(line).get("event") == "SUSPEND":
                    qemu.execute("system_wakeup")
        except (OSError, ValueError):
            pass    # It has ended, maybe in the middle of a line.


if __name__ == "__main__":
    {"dump": dump, "wake": wake}[sys.argv[1]](*sys.argv[2:])

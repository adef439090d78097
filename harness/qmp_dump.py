#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Have QEMU dump a guest that runs, when the guest says that it is ready.

    qmp_dump.py SOCKET RESULTS DUMP
"""
import json
import socket
import sys
import time

SECONDS = 600


def wait_for(what, found):
    """Until found() says so. QEMU may not even have started yet."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            if (value := found()) is not None:
                return value
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        time.sleep(0.2)
    sys.exit(f"waited in vain for {what}")


def connect(path):
    """A connection to QEMU."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def is_ready(path):
    """Has the guest said so?"""
    with open(path, errors="replace") as file:
        return True if "ready" in file.read() else None


def main(path, results, dump):
    with wait_for("QEMU", lambda: connect(path)) as connection:
        lines = connection.makefile("rw")

        def execute(command, **arguments):
            """Send a command, wait for its answer; events may come before that."""
            lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            lines.flush()
            for line in lines:
                answer = json.loads(line)
                if "error" in answer:
                    sys.exit(f"{command}: {answer['error']['desc']}")
                if "return" in answer:
                    return

        lines.readline()
        execute("qmp_capabilities")
        wait_for("the guest", lambda: is_ready(results))
        execute("dump-guest-memory", paging=False, protocol=f"file:{dump}")
        execute("quit")


if __name__ == "__main__":
    main(*sys.argv[1:])

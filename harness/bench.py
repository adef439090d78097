#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The figures of two kernels side by side; fail where they may not differ."""
import sys

# Who did not grow and did not sleep long pays nothing.
SAME = ("null_syscall", "pipe_round_trip_process", "pipe_round_trip_thread", "page_fault")


def read(path):
    """Name and number of each line."""
    with open(path) as file:
        return dict(line.split() for line in file if len(line.split()) == 2)


def main(stock, ours):
    stock, ours = read(stock), read(ours)
    print(f"{'':28}{'stock':>10}{'ours':>10}{'difference':>12}")
    for name, value in ours.items():
        there = stock.get(name)
        difference = int(value) - int(there) if there else ""
        print(f"{name:28}{there or '':>10}{value:>10}{difference:>12}")
    differ = [name for name in SAME if stock.get(name) != ours.get(name)]
    for name in differ:
        print(f"error: {name} is not what it is on the stock kernel")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The figures of two kernels side by side; fail where they may not differ."""
import sys

# Who did not grow and did not sleep long pays nothing: ours is the stock kernel.
FREE = ("null_syscall", "pipe_round_trip_process", "pipe_round_trip_thread", "page_fault")
# One thread or two, and nothing that depends on what else is in memory: two runs
# agree to the last digit. The others may differ by five percent.
EXACT = FREE + ("ensure_hit", "ensure_one_page", "ensure_five_pages", "net_one_page",
                "net_five_pages", "deep_call")


def read(path):
    """Name and number of each line."""
    with open(path) as file:
        return {name: int(value) for name, value in map(str.split, file)}


def agree(name, one, two):
    """Is that the same figure, twice?"""
    return one == two if name in EXACT else abs(one - two) * 100 <= 5 * max(one, two)


def main(folder):
    runs = {(kernel, n): read(f"{folder}/bench.{kernel}.{n}")
            for kernel in ("stock", "ours") for n in (1, 2)}
    stock, ours = runs["stock", 1], runs["ours", 1]
    print(f"{'':28}{'stock':>10}{'ours':>10}{'difference':>12}")
    for name, value in ours.items():
        there = stock.get(name, "")
        difference = value - there if there != "" else ""
        print(f"{name:28}{there:>10}{value:>10}{difference:>12}")
    errors = [f"{name} is not what it is on the stock kernel"
              for name in FREE if stock.get(name) != ours.get(name)]
    errors += [f"two runs of the {kernel} kernel differ in {name}"
               for kernel in ("stock", "ours") for name, value in runs[kernel, 1].items()
               if not agree(name, value, runs[kernel, 2].get(name, -1))]
    for error in errors:
        print("error:", error)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
fuzz.py TOOL VMLINUX SECONDS [SEED]: damage a kernel image here and there and see
that 'TOOL analyze' takes it or refuses it, and never crashes or hangs. TOOL should
be built with sanitizers. Prints the seed that does it again.
"""
import random
import subprocess
import sys
import tempfile
import time

HANG_S = 900    # what takes seconds takes minutes on a busy host

def places(image):
    """Offsets worth damaging: the headers, and the small sections that are parsed."""
    out = subprocess.run(["readelf", "-SW", image], capture_output=True, text=True, check=True)
    with open(image, "rb") as file:
        header = file.read(64)
    table = int.from_bytes(header[40:48], "little")
    found = [(0, 64), (table, 64 * int.from_bytes(header[60:62], "little"))]
    for line in out.stdout.splitlines():
        words = line.replace("[ ", "[").split()
        if len(words) > 6 and words[1] in (".orc_header", ".orc_unwind_ip", ".orc_unwind",
                                           ".symtab", ".strtab", ".shstrtab", ".notes",
                                           ".text", ".rodata"):
            found.append((int(words[4], 16), int(words[5], 16)))
    return found


def damage(data, spots, rng):
    for _ in range(rng.choice((1, 3, 30, 1000))):
        offset, size = rng.choice(spots)
        at = offset + rng.randrange(max(size, 1))
        if at < len(data):
            data[at] = rng.choice((0, 0xff, 0x7f, 0x80, rng.randrange(256)))
    if rng.random() < 0.1:
        del data[rng.randrange(len(data)):]


def main(tool, image, seconds, seed=None):
    seed = int(seed) if seed else random.randrange(1 << 30)
    rng = random.Random(seed)
    with open(image, "rb") as file:
        clean = file.read()
    spots = places(image)
    end = time.time() + float(seconds)
    rounds = refused = 0
    while time.time() < end:
        data = bytearray(clean)
        damage(data, spots, rng)
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            try:
                done = subprocess.run([tool, "-j", "analyze", file.name], capture_output=True,
                                      timeout=HANG_S, check=False)
            except subprocess.TimeoutExpired:
                done = None
            if done is None or done.returncode not in (0, 1):
                print(f"not ok 1 fuzz.analyze (seed {seed}, round {rounds})")
                print(done.stderr.decode(errors="replace")[-2000:] if done else "it hangs")
                return 1
        rounds += 1
        refused += done.returncode
    print(f"ok 1 fuzz.analyze\n# {rounds} damaged images, {refused} refused, seed {seed}\n1..1")
    return 0 if rounds else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

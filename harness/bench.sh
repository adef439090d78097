#!/bin/bash
# make bench: what growth costs, in instructions. Two runs have to agree to the
# last digit.
cd "$(dirname "$0")" || exit
. ./lib.sh
. ./image.sh
. ./boot.sh

[ "$DEBUG" = 0 ] || die "figures of a debugging kernel mean nothing"
build_kernel
step "build the initramfs" build_image
cpus=1
count=yes	# the clock counts instructions
for run in 1 2; do
	boot bench 300
	grep -q '^# end' "$O/bench.results" || die "no figures, see $O/bench.console"
	tr -d '\r' < "$O/bench.results" > "$O/bench.$run"
done
cmp "$O/bench.1" "$O/bench.2" || die "two runs differ, see $O/bench.1 and $O/bench.2"
# The fast path of stack_ensure(), up to the jump to the slow one.
objdump -d --no-show-raw-insn "$obj/modules/test/stack_policy_testmod.ko" |
	sed -n '/<ensure_constant.*>:/,/^$/p' | sed '/jb/q' > "$O/fast-path"
cat "$O/fast-path"
fast=$(grep -vc '>:\|endbr64' "$O/fast-path")
if ! grep -q jb "$O/fast-path" || [ "$fast" -gt 4 ]; then
	die "the fast path has $fast instructions, not 4"
fi
awk '!/^#/ { printf "%-20s %8d\n", $1, $2 }' "$O/bench.1"

#!/bin/bash
# make bench: instructions and memory, beside the stock kernel built from the
# same source with the same configuration. Two runs of each kernel have to agree.
cd "$(dirname "$0")" || exit
. ./lib.sh
. ./objects.sh
. ./image.sh
. ./boot.sh

[ "$DEBUG" = 0 ] || die "figures of a debugging kernel mean nothing"

# The kernel without the queue and the option.
build_stock()
{
	src=$O/stock obj=$O/obj-stock
	mkdir -p "$obj"
	if ! cmp -s "$top/configs/base.config" "$obj/fragments"; then
		make_kernel allnoconfig KCONFIG_ALLCONFIG="$top/configs/base.config" \
			> "$O/config.log" 2>&1 || die "configuration failed, see $O/config.log"
		cp "$top/configs/base.config" "$obj/fragments"
	fi
	step "build the stock kernel" make_kernel -j"$jobs" bzImage
}

# run KERNEL NAME: boot it; its figures in $O/NAME.
run()
{
	(obj=$1 boot "$2" 1200 mode=bench)
	grep -q '^# end' "$O/$2.results" || die "no figures, see $O/$2.console"
	tr -d '\r' < "$O/$2.results" | grep -v '^#' > "$O/$2"
}

prepare_stock
(build_stock)
build_kernel
step "build the initramfs" build_image
cpus=1
count=yes	# the clock counts instructions
for n in 1 2; do
	run "$O/obj-stock" "bench.stock.$n"
	run "$obj" "bench.ours.$n"
done
# The fast path of stack_ensure(), up to the jump to the slow one.
objdump -d --no-show-raw-insn "$obj/modules/test/stack_policy_testmod.ko" |
	sed -n '/<ensure_constant.*>:/,/^$/p' | sed '/jb/q' > "$O/fast-path"
cat "$O/fast-path"
fast=$(grep -vc '>:\|endbr64' "$O/fast-path")
if ! grep -q jb "$O/fast-path" || [ "$fast" -gt 4 ]; then
	die "the fast path has $fast instructions, not 4"
fi
exec python3 ./bench.py "$O"

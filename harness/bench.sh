#!/bin/bash
# make bench: what the feature costs and saves, beside the stock kernel built from
# the same source with the same configuration. Each benchmark is a boot of its own;
# in turns, three times. In a machine whose clock counts instructions, and that gives
# the same figures each time; with REAL=1 in one that has KVM, in nanoseconds.
cd "$(dirname "$0")" || exit
. ./lib.sh
. ./objects.sh
. ./image.sh
. ./boot.sh

[ "$DEBUG" = 0 ] || die "figures of a debugging kernel mean nothing"

all=(hot life growth kvm threads mix cpus_1 cpus_2 cpus_4 cpus_8 xfs ext4 network shell untar
	hackbench hackbench_threads context clone split overlay overlay_deep zram)
read -ra names <<< "${BENCH:-${all[*]}}"
for name in "${names[@]}"; do
	[[ " ${all[*]} " == *" $name "* ]] || die "BENCH=$name: there are ${all[*]}"
done
results=$O/bench
out=$results
mkdir -p "$results"
rm -f "$results"/*

# The kernel without the queue and the option.
build_stock()
{
	src=$O/stock obj=$O/obj-stock
	mkdir -p "$obj/modules/bench"
	if ! cmp -s "$top/configs/base.config" "$obj/fragments"; then
		make_kernel allnoconfig KCONFIG_ALLCONFIG="$top/configs/base.config" \
			> "$out/config.log" 2>&1 || die "configuration failed, see $out/config.log"
		cp "$top/configs/base.config" "$obj/fragments"
	fi
	step "build the stock kernel" make_kernel -j"$jobs" bzImage modules
	rsync -rlpc "$top/tools/testing/selftests/stack_policy/bench_module/" "$obj/modules/bench/"
	step "build its module" make_kernel M="$obj/modules/bench" modules
	step "build its initramfs" build_bench_image "$O/bench.stock.gz"
}

# run WHICH NAME N: boot it; its figures in $results/NAME.WHICH.N.
run()
{
	local which=$1 name=$2 to=$results/$2.$1.$3
	image=$O/bench.$which.gz memory=4G cpus=1
	[ "$which" = ours ] || obj=$O/obj-stock
	if [ "$REAL" = 1 ]; then
		cpus=$(nproc)
	else
		count=yes	# the clock counts instructions
	fi
	[[ $name != cpus_* ]] || cpus=${name#cpus_}
	rm -f "$to"
	boot "$name.$which.$3" 1800 mode=bench "bench=${name%%_[0-9]}" "real=$REAL" \
		> "$to.boot" 2>&1 || :
	grep -q '^# end' "$to.results" || die "no figures, see $to.console and $to.results"
	# A kernel may have nothing of what is measured.
	tr -d '\r' < "$to.results" | sed '/^#/d' > "$to"
}

# The machine is as deterministic as it is slow: both kernels at once, each on a CPU.
run_both()
{
	local rc=0
	if [ "$REAL" = 1 ]; then
		(run stock "$1" "$2")
		(run ours "$1" "$2")
		return
	fi
	(run stock "$1" "$2") &
	(run ours "$1" "$2") || rc=$?
	wait $! || rc=$?
	return $rc
}

build_kernel
step "build the initramfs" build_bench_image "$O/bench.ours.gz"
(build_stock)
# The fast path of stack_ensure(), up to the jump to the slow one.
objdump -d --no-show-raw-insn "$obj/modules/bench/stack_policy_benchmod.ko" |
	sed -n '/<ensure_constant.*>:/,/^$/p' | sed '/jb/q' > "$O/fast-path"
fast=$(grep -vc '>:\|endbr64' "$O/fast-path")
if ! grep -q jb "$O/fast-path" || [ "$fast" -gt 9 ]; then
	die "the fast path has $fast instructions, not 9: $O/fast-path"
fi
runs=3
if [ "$REAL" = 1 ]; then
	runs=10
	[ "$(cp "$O/bench.ours.gz" "$out/initramfs.gz"; accelerator)" = kvm ] ||
		die "REAL=1 needs a /dev/kvm that can run the kernel"
fi
for name in "${names[@]}"; do
	for n in $(seq $runs); do
		step "bench: $name, run $n of $runs" run_both "$name" "$n"
	done
done
{
	echo "kernel $(make_kernel -s kernelrelease)"
	echo "configuration $(sed '/^# /d' "$obj/.config" | sha256sum | cut -c 1-12)"
	echo "compiler $(gcc --version | head -n 1)"
	qemu-system-x86_64 --version | head -n 1 | sed 's/^/emulator /'
	echo "images $(cat "$O"/obj{-stock,}/arch/x86/boot/bzImage "$O"/bench.{stock,ours}.gz |
		sha256sum | cut -c 1-12)"
} > "$results/about"
exec python3 ./bench.py "$results" "$REAL" "$UPDATE"

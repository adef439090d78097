#!/bin/bash
# make test: build, boot, test; the last line is the verdict.
cd "$(dirname "$0")" || exit
. ./lib.sh
. ./image.sh
. ./boot.sh

# Of an image no guest is needed to look into; what one has recorded is held against it.
host_tests()
{
	local folder=tool tool name
	for name in overflows deepest; do
		tr -d '\r' < "$O/chains.results" |
			sed -n "/^# BEGIN $name/,/^# END/{/^#/!p}" > "$O/$name.trace"
	done
	[ "$DEBUG" != 1 ] || folder="tool-asan"
	tool=$O/$folder/stackpolicy
	{
		echo "# selftest"
		tool=$tool vmlinux=$obj/vmlinux overflows=$O/overflows.trace \
			deepest=$O/deepest.trace "$top/tools/stackpolicy/tests/run.sh" analyze observed
		python3 "$src/tools/stackpolicy/tests/sync.py" "$tool"
		[ -e /proc/sys/kernel/stack_policy ] ||
			tool=$tool "$top/tools/stackpolicy/tests/run.sh" nofeature
		echo "# end"
	} > "$O/host.results"
}

build_kernel
step "build the initramfs" build_image
rc=0
boot chains 300 || :
# As users have it; with the debugging kernel under ASan and UBSan, which take as long.
tool=stackpolicy
[ "$DEBUG" != 1 ] || tool=stackpolicy_asan
boot test 1200 kunit.enable=1 tool=$tool || rc=$?
boot variant 600 kunit.enable=1 "kunit.filter_glob=stack_policy_*" pti=on nokaslr \
	no5lvl fred=on pci=nomsi || :
# What takes one CPU, beside boots that only have to end.
begin host_tests
boot exhaust 120 || :
boot lowmem 120 mode=full fail_kstack_refill=1,100,0,-1 || :
boot die 240 stack_policy=task=8/24,kthread=16/32 stack_policy=task=99/100 \
	randomize_kstack_offset=off || :
boot full 120 noapic || :
boot panic 120 mode=overflow action=kernel.stack_policy_overflow=panic || :
boot warn 120 mode=overflow action=kernel.panic_on_warn=1 || :
finish "test stackpolicy's analysis"
exec python3 ./verdict.py "$O" "$rc"

#!/bin/bash
# make test: build, boot, test; the last line is the verdict. TEST=NAME: only that
# test, suite or group of tests, by the names that the whole run prints.
cd "$(dirname "$0")" || exit
. ./lib.sh
. ./image.sh
. ./boot.sh
. ./dumps.sh
. ./package.sh
. ./guest.sh

# As users have it; with the debugging kernel under ASan and UBSan.
tool=stackpolicy folder=tool
[ "$DEBUG" != 1 ] || tool=stackpolicy_asan folder=tool-asan

# Real call chains, for the analysis to be held against.
record_chains()
{
	local name
	patches=yes boot chains 1800 kunit.enable=1 kunit.filter_glob=stack_policy_record || :
	for name in overflows deepest; do
		tr -d '\r' < "$out/chains.results" |
			sed -n "/^# BEGIN $name/,/^# END/{/^#/!p}" > "$out/$name.trace"
	done
}

# host_tests FILE...: those that need no guest.
host_tests()
{
	local tool=$O/$folder/stackpolicy
	{
		echo "# selftest"
		tool=$tool vmlinux=$obj/vmlinux overflows=$out/overflows.trace \
			deepest=$out/deepest.trace "$top/tools/stackpolicy/tests/run.sh" "$@"
		[[ " $* " != *" analyze "* ]] ||
			python3 "$src/tools/stackpolicy/tests/sync.py" "$tool"
		[ -e /proc/sys/kernel/stack_policy ] || [[ " $* " != *" analyze "* ]] ||
			tool=$tool "$top/tools/stackpolicy/tests/run.sh" nofeature
		echo "# end"
	} > "$out/host.results"
}

# A machine that sleeps: to RAM, until it is woken, and to disk, which ends QEMU. Each run
# goes on where the one before was.
boot_sleep()
{
	local swap=$out/swap qmp=$out/qmp-sleep runs=0 all=$out/sleep-all what wake
	rm -f "$swap" "$qmp" "$all".*
	truncate -s 1G "$swap"
	python3 ./qmp.py wake "$qmp" > "$out/qmp-sleep.log" 2>&1 &
	wake=$!
	until grep -qs '^# end' "$all.results" || [ $((runs++)) -eq 4 ]; do
		boot sleep 1800 resume=/dev/vdb || :
		for what in console results; do
			tr -d '\r' < "$out/sleep.$what" >> "$all.$what"
		done
	done
	kill $wake || cat "$out/qmp-sleep.log"
	for what in console results; do
		mv "$all.$what" "$out/sleep.$what"
	done
	rm -f "$swap"
}

# A debugger inside the guest.
boot_kdb()
{
	local input=$out/kdb.socket typist
	rm -f "$input"
	python3 ./kdb.py "$input" > "$out/kdb.log" 2>&1 &
	typist=$!
	boot kdb 900 kgdboc=ttyS0 || :
	wait $typist || cat "$out/kdb.log"
}

# Dumps of a guest, and what crash makes of them.
dumps()
{
	step "build the guest that is dumped" build_dump_image
	step "build the extension for crash" build_extension
	boot_kdump
	step "read the dump of kdump" read_dump kdump kdump.elf
	boot_dumped
	step "read the dump of QEMU" read_dump dumped dumped.vmcore
	rm -f "$out"/{kdump,dumped}.{vmcore,elf}
}

# Debian 13 on this kernel, under systemd. Where no mirror can be reached, no guest can be made:
# the verdict says so.
boot_systemd()
{
	local image=""
	guest=$O/guest
	mkdir -p "$guest"
	# What an earlier run left is no result of this one.
	rm -f "$out/no_guest" "$out"/systemd.*
	step "build the package of stackpolicy" new_tool_package
	need_guest machine/packages &
	if wait $!; then
		step "pack what goes to the guest" pack_files
		step "install it there" install_packages
		boot_guest systemd 1800 machine=check quick
	else
		grep -m 1 -E "Could not (resolve|connect)|Temporary failure resolving|Network is unreachable" \
			"$guest/made.log" > "$out/no_guest" || rm "$out/no_guest"
	fi
}

# What is short or mostly waits, beside the long boot.
others()
{
	record_chains
	boot tool 3600 tool=$tool || :
	patches=yes boot patch 3600 tool=$tool kunit.enable=1 kunit.filter_glob=stack_policy_trim || :
	boot variant 3600 kunit.enable=1 "kunit.filter_glob=stack_policy_*" pti=on nokaslr \
		no5lvl fred=on pci=nomsi || :
	step "test stackpolicy's analysis" host_tests analyze observed
	boot exhaust 900 || :
	boot lowmem 900 mode=full fail_kstack_refill=1,100,0,-1 || :
	boot die 900 stack_policy=task=8/24,kthread=16/32 stack_policy=task=99/100 \
		randomize_kstack_offset=off || :
	boot full 900 noapic || :
	boot conservative 900 stack_policy=conservative || :
	[ "$DEBUG" != 1 ] || boot_sleep
	[ "$DEBUG" != 1 ] || nodes=2 boot machine 900 || :
	[ "$DEBUG" != 1 ] || boot_kdb
	[ "$DEBUG" != 0 ] || memory=256M boot tight 900 || :
	[ "$DEBUG" != 0 ] || dumps
	boot panic 900 mode=overflow action=kernel.stack_policy_overflow=panic || :
	boot warn 900 mode=overflow action=kernel.panic_on_warn=1 || :
	[ "$DEBUG" != 0 ] || boot_systemd
}

# One test: what its name begins with says where it is.
some()
{
	local name=${TEST#stackpolicy.} rc=0
	rm -f "$out"/*.results
	case $name in
	stack_policy*)
		boot some 5400 kunit.enable=1 "kunit.filter_glob=$name" || rc=$? ;;
	machine | machine.*)
		[ "$DEBUG" = 1 ] || die "TEST=$name: only the kernel of DEBUG=1 has what that needs"
		nodes=2 boot some 5400 "what=$(selftest "$name")" || rc=$? ;;
	tight | tight.*)
		memory=256M boot some 5400 "what=$(selftest "$name")" || rc=$? ;;
	table | maps | stack | overflow | trim | wake | recover | caller | \
	table.* | maps.* | stack.* | overflow.* | trim.* | wake.* | recover.* | caller.*)
		# One of trim's reads what a KUnit test found.
		boot some 5400 "what=$(selftest "$name")" kunit.enable=1 \
			kunit.filter_glob=stack_policy_trim.woken_takes_its_pages_back || rc=$? ;;
	sleep)
		[ "$DEBUG" = 1 ] || die "TEST=sleep: only the kernel of DEBUG=1 can sleep"
		boot_sleep
		mv "$out/sleep.results" "$out/some.results"
		mv "$out/sleep.console" "$out/some.console" ;;
	kdb)
		[ "$DEBUG" = 1 ] || die "TEST=kdb: only the kernel of DEBUG=1 has kdb"
		boot_kdb
		exec python3 ./verdict.py "$out" "$rc" kdb ;;
	systemd)
		[ "$DEBUG" = 0 ] || die "TEST=systemd is not for DEBUG=$DEBUG"
		boot_systemd
		exec python3 ./verdict.py "$out" "$rc" systemd ;;
	dumps)
		dumps
		exec python3 ./verdict.py "$out" "$rc" dumps ;;
	class | thread | memory | trace | ensure | assign | nofeature)
		case $name in ensure | assign) patches=yes ;; esac
		boot some 5400 "tool=$tool" "what=/tests/run.sh,$name" || rc=$? ;;
	analyze | observed)
		[ "$name" = analyze ] || record_chains
		step "test stackpolicy's analysis" host_tests "$name"
		mv "$out/host.results" "$out/some.results" ;;
	*) die "TEST=$TEST: a KUnit suite or suite.case (stack_policy_trim.woken_takes_its_pages_back)," \
		"a selftest (trim, wake.nobody_runs_short), stackpolicy.FILE (stackpolicy.class)," \
		"sleep, kdb, dumps or systemd" ;;
	esac
	exec python3 ./verdict.py "$out" "$rc" some
}

# The program of a selftest and its options, words separated by commas.
selftest()
{
	local program=${1%%.*}_test
	case $program in
	table_test | maps_test | stack_test | machine_test) program=stack_policy_test ;;
	tight_test) program=wake_test ;;
	esac
	case $1 in
	*.*) echo "$program,-r,$1" ;;
	*) echo "$program,-f,$1" ;;
	esac
}

# Each boot ends by itself. The seconds are for one that hangs, on a host that is busy.
build_kernel
step "build the initramfs" build_image
[ -z "$TEST" ] || some
others > "$out/others.log" 2>&1 &
others=$! rc=0
boot test 5400 kunit.enable=1 || rc=$?
wait "$others" || rc=1
cat "$out/others.log"
echo "# $(about)"
what="test"
[ "$DEBUG" != 1 ] || what="debug"
exec python3 ./verdict.py "$out" "$rc" $what

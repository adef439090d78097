#!/bin/bash
# Runs in the guest of "make machine", on the stock kernel and on ours: test suites of other
# people. Prints of each test "SUITE:TEST passed|failed|skipped", and before it, behind a "|",
# what the suite has said. What failed runs once more: some measure time, on an emulator.
cd "$(dirname "$0")" || exit
kselftests=$(grep -v '^#' kselftests)
export SPLIT_HUGE_PAGE_TEST_XFS_PATH=/mnt/xfs
others="stress-ng perf trace-cmd fio nfs"
log=/var/tmp/suite.log

result()
{
	echo "$1 $2"
}

say_log()
{
	tr -d '\000\r' < $log | cut -c 1-300 | sed 's/^/| /'
}

# Seconds for a test, or for one that runs others.
seconds_for()
{
	case $1 in
	ftrace | mm) echo 2400 ;;
	kvm) echo 20 ;;
	*) echo 150 ;;
	esac
}

# words FILE: "TEST passed|failed|skipped" of each result of a collection, those that a test
# says of others first.
words()
{
	sed -nE '
		s/^# *//
		s/[[:space:]]+$//
		# The name of a folder that was made for it, and how many pages there were.
		s,/tmp/xfs_dir_[^ ]*,FOLDER,
		s/uffd-stress hugetlb [0-9]+/uffd-stress hugetlb N/
		/^ok .*# *SKIP/I s/^ok [0-9]+ (selftests: [^:]*: )?-? ?(.*[^ ]) *# *SKIP.*/\2 skipped/Ip
		s/^ok [0-9]+ (selftests: [^:]*: )?-? ?(.*)/\2 passed/p
		s/^not ok [0-9]+ (selftests: [^:]*: )?-? ?([^#]*[^# ])( *#.*)?$/\2 failed/p' "$1"
}

# once_more COLLECTION TEST
once_more()
{
	case $1 in
	ftrace)
		(cd ftrace && ./ftracetest -K "$(grep -rlF "description: $2" test.d | head -n 1)" |
			grep "^ok ") ;;
	# No test of its own to call.
	futex | mm) return 1 ;;
	*) ./run_kselftest.sh -o "$(seconds_for "$1")" -t "$1:$2" | grep "^ok " | grep -v SKIP ;;
	esac
}

# What a test that was ended by the clock leaves behind.
end_tracing()
{
	(
		cd /sys/kernel/tracing || exit
		echo nop > current_tracer
		echo > set_event
		echo > kprobe_events
		echo > set_ftrace_filter
		echo 1 > tracing_on
		echo 950000 > /proc/sys/kernel/sched_rt_runtime_us
	) 2>/dev/null
}

kselftest()
{
	local name=$1 test word line seconds modules
	modules=/opt/machine/livepatch-$(uname -r)
	seconds=$(seconds_for "$name")
	cd kselftest || return
	if [ "$name" = livepatch ]; then
		mkdir -p livepatch/test_modules
		cp "$modules"/*.ko livepatch/test_modules/
		# The tests want to see where they were built.
		export KDIR=$modules
	fi
	# Blocks of the disk that the journal still holds cannot be moved to other memory.
	[ "$name" != memory-hotplug ] || { sync && fsfreeze -f / && fsfreeze -u /; }
	./run_kselftest.sh -o "$seconds" -c "$name" > $log 2>&1
	# These have other names where they fail, and wait for each other by time.
	[ "$name" != futex ] || ! grep -q "^# not ok" $log ||
		./run_kselftest.sh -o "$seconds" -c "$name" > $log 2>&1
	# One says no newline before it fails.
	sed -i 's/^.*) - \(not ok [0-9]* selftests:\)/\1/' $log
	say_log
	case $name in
	# One test that runs many.
	ftrace | futex | mm)
		words $log | grep -v '^\(ftracetest-ktap\|run.sh\|run_vmtests.sh\) ' ;;
	*) grep -E '^(not )?ok ' $log > $log.top; words $log.top ;;
	esac | while read -r line; do
		word=${line##* } test=${line% *}
		if [ "$word" = failed ] && ! grep -q "^not ok .*: $test # TIMEOUT" $log &&
		   once_more "$name" "$test" > $log.again 2>&1 < /dev/null; then
			word=passed
		fi
		result "$name:$test" "$word"
	done
	[ "$name" != ftrace ] || end_tracing
}

# does SUITE:TEST COMMAND...
does()
{
	local name=$1
	shift
	if "$@" > $log 2>&1 || "$@" >> $log 2>&1; then
		result "$name" passed
	else
		say_log
		result "$name" failed
	fi
}

# Whoever is killed for memory there, is alone.
in_scope()
{
	systemd-run --quiet --scope -p OOMPolicy=continue -p MemoryMax=1200M choom -n 500 -- "$@"
}

# Each of a class, one after the other, a few seconds each.
stress_ng()
{
	local word test
	mkdir -p /mnt/xfs/stress
	# Without those that take the CPUs from all others, or memory away for good.
	in_scope timeout -k 60 3600 stress-ng --temp-path /mnt/xfs/stress --oomable \
		--class cpu,vm,filesystem,network,os,interrupt,scheduler --sequential 1 --timeout 2 \
		--exclude memhotplug,softlockup > $log 2>&1
	say_log
	for word in passed failed skipped; do
		sed -n "s/.*\] $word: [0-9]*: //p" $log | tr ' ' '\n' | grep -v '^(' |
			while read -r test; do
				[ -n "$test" ] || continue
				if [ $word = failed ] && in_scope timeout -k 60 120 stress-ng \
				   --temp-path /mnt/xfs/stress --oomable "--$test" 1 --timeout 2 \
				   < /dev/null > /dev/null 2>&1; then
					result "stress-ng:$test" passed
				else
					result "stress-ng:$test" $word
				fi
			done
	done
	rm -rf /mnt/xfs/stress
}

perf_shows_stacks()
{
	perf record -a -g -o /var/tmp/perf.data -- sleep 3 &&
		perf report -i /var/tmp/perf.data --stdio 2>/dev/null | grep -m 1 -E "do_idle|entry_SYSCALL_64"
}

# Stacks of those that sleep: what they wait in.
perf_shows_sleepers()
{
	perf record -a -g -e sched:sched_switch -o /var/tmp/perf.data -- sleep 3 &&
		perf script -i /var/tmp/perf.data | grep -m 1 do_nanosleep
}

trace_cmd_shows_stacks()
{
	trace-cmd record -q -o /var/tmp/trace.dat -e sched_switch -T sleep 3 &&
		trace-cmd report -i /var/tmp/trace.dat | grep -m 1 "=> do_nanosleep"
}

trace_cmd_shows_the_deepest()
{
	trace-cmd stack --start && ls -R /proc > /dev/null 2>&1
	trace-cmd stack && trace-cmd stack --stop
}

# fio_on FOLDER: writes at random, reads it again, compares.
fio_on()
{
	fio --name=verify --directory="$1" --rw=randrw --bs=4k --size=32M --numjobs=2 --ioengine="$2" \
		--iodepth=8 --verify=crc32c --end_fsync=1 --group_reporting
}

on_image()
{
	local fs=$1
	mkdir -p /mnt/suite
	rm -f /var/tmp/suite.img
	truncate -s 400M /var/tmp/suite.img
	"mkfs.$fs" -q /var/tmp/suite.img && mount -o loop /var/tmp/suite.img /mnt/suite
}

fio_suite()
{
	local fs engine
	for fs in xfs ext4; do
		does "fio:mkfs.$fs" on_image $fs
		for engine in psync libaio io_uring mmap; do
			does "fio:$fs.$engine" fio_on /mnt/suite $engine
		done
		umount /mnt/suite
	done
}

nfs_mounts()
{
	systemctl start nfs-server &&
		exportfs -o rw,no_root_squash,insecure,fsid=1 127.0.0.1:/mnt/suite &&
		mount -t nfs -o "vers=$1" 127.0.0.1:/mnt/suite /mnt/nfs
}

nfs()
{
	local version
	mkdir -p /mnt/nfs
	on_image xfs
	for version in 3 4.2; do
		does "nfs:mount_$version" nfs_mounts $version
		does "nfs:fio_$version" fio_on /mnt/nfs psync
		does "nfs:stress_$version" stress-ng --temp-path /mnt/nfs --timeout 10 \
			--hdd 1 --hdd-bytes 32M --dir 1 --rename 1
		umount /mnt/nfs
	done
	exportfs -ua
	systemctl stop nfs-server
	umount /mnt/suite
}

suite()
{
	case $1 in
	stress-ng) stress_ng ;;
	perf) does perf:shows_stacks perf_shows_stacks
	      does perf:shows_sleepers perf_shows_sleepers ;;
	trace-cmd) does trace-cmd:shows_stacks trace_cmd_shows_stacks
		   does trace-cmd:shows_the_deepest trace_cmd_shows_the_deepest ;;
	fio) fio_suite ;;
	nfs) nfs ;;
	*) kselftest "$1" ;;
	esac
}

echo "# selftest"
uname -r | sed 's/^/# /'
mkdir -p /mnt/xfs && truncate -s 800M /var/tmp/xfs.img && mkfs.xfs -q /var/tmp/xfs.img &&
	mount -o loop /var/tmp/xfs.img /mnt/xfs
asked=$(sed -n 's/.*suites=\([a-z0-9,-]*\).*/\1/p' /proc/cmdline | tr , ' ')
for name in ${asked:-$others $kselftests}; do
	echo "# $name at $SECONDS s"
	(echo 0 > /proc/self/oom_score_adj; suite "$name")
done
if [ -e /proc/sys/kernel/stack_policy ]; then
	echo "# overflows: $(bpftool map dump name stack_stats |
		sed -n 's/.*"grows_fault": \([0-9]*\).*/\1/p' | awk '{ n += $1 } END { print n + 0 }')"
	dmesg | grep stack_policy: | sed 's/^/| /'
fi
echo "# end"
systemctl poweroff

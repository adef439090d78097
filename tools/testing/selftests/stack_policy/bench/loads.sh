#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Whole loads, each by stack_policy_bench load: its instructions, and its stacks.
#	loads.sh [--time] NAME...
time=
[ "$1" != --time ] || { time=$1; shift; }

load()
{
	stack_policy_bench $time load "$1" "$2"
}

# on_loop FILE SIZE FS MOUNTPOINT: a file system in a file.
on_loop()
{
	truncate -s "$2" "$1"
	"mkfs.$3" -q "$1"
	mkdir -p "$4"
	loop=$(losetup -f)
	losetup "$loop" "$1"
	mount -t "$3" "$loop" "$4"
}

# Writers that have less memory than they write, on a file system in a file on another.
tight()
{
	echo +memory > /sys/fs/cgroup/cgroup.subtree_control
	mkdir -p /sys/fs/cgroup/tight
	echo 12M > /sys/fs/cgroup/tight/memory.max
	load "$1" "echo 0 > /sys/fs/cgroup/tight/cgroup.procs; stack_policy_bench files $2"
	sed -n "s/^pgsteal /load_$1_reclaimed /p" /sys/fs/cgroup/tight/memory.stat
}

# Overlays, so many, on the kernel's headers; the last one is at /mnt/layer.
overlays()
{
	modprobe overlay
	on_loop /tmp/layers 600M xfs /mnt/layers
	mkdir -p /mnt/layers/0 /mnt/layer
	tar -xf /headers.tar -C /mnt/layers/0
	below=/mnt/layers/0
	for i in $(seq "$1"); do
		mkdir -p /mnt/layers/up$i /mnt/layers/work$i /mnt/layer$i
		mount -t overlay -o \
			lowerdir=$below,upperdir=/mnt/layers/up$i,workdir=/mnt/layers/work$i \
			overlay /mnt/layer$i || return
		below=/mnt/layer$i
	done
	mount --bind $below /mnt/layer
}

# Look at all, read all, change some.
on_overlays()
{
	load "$1" 'cd /mnt/layer/linux && ls -lR . > /dev/null && cat *.h > /dev/null &&
		for f in [a-d]*.h; do echo >> $f; done; sync'
}

# How often a worker has split, when it all happens once more.
count_workers()
{
	echo "p:bench/worker xfs_btree_split_worker" > /sys/kernel/tracing/kprobe_events
	echo 1 > /sys/kernel/tracing/events/bench/worker/enable
	mkdir /mnt/split/again
	stack_policy_bench splits /mnt/split/again
	sed -n 's/^ *worker *\([0-9]*\).*/load_split_workers \1/p' /sys/kernel/tracing/kprobe_profile
}

mount -t tmpfs -o size=3G tmp /tmp
ifconfig lo 127.0.0.1 up
for name; do
	case $name in
	xfs) on_loop /tmp/ext4 900M ext4 /mnt/ext4
		on_loop /mnt/ext4/xfs 600M xfs /mnt/xfs_on_ext4
		tight xfs /mnt/xfs_on_ext4 ;;
	ext4) on_loop /tmp/xfs 900M xfs /mnt/xfs
		on_loop /mnt/xfs/ext4 600M ext4 /mnt/ext4_on_xfs
		tight ext4 /mnt/ext4_on_xfs ;;
	split) truncate -s 400M /tmp/split
		mkfs.xfs -q -b size=1024 /tmp/split
		mkdir -p /mnt/split
		loop=$(losetup -f)
		losetup "$loop" /tmp/split
		mount -t xfs "$loop" /mnt/split
		load split "stack_policy_bench splits /mnt/split"
		count_workers ;;
	overlay) overlays 2
		on_overlays overlay ;;
	# A stock kernel has no more than two.
	overlay_deep) if overlays 4 2> /dev/null; then
			on_overlays overlay_deep
		fi ;;
	zram) modprobe zram
		echo 64M > /sys/block/zram0/disksize
		mkswap /dev/zram0 > /dev/null
		swapon /dev/zram0
		echo +memory > /sys/fs/cgroup/cgroup.subtree_control
		mkdir /sys/fs/cgroup/zram
		echo 16M > /sys/fs/cgroup/zram/memory.max
		load zram "echo 0 > /sys/fs/cgroup/zram/cgroup.procs; stack_policy_bench memory"
		sed -n "s/^pgsteal /load_zram_reclaimed /p" /sys/fs/cgroup/zram/memory.stat ;;
	network) load network "stack_policy_bench network" ;;
	shell) load shell 'i=0; while [ $i -lt 1000 ]; do
		i=$((i + 1)); busybox true | busybox cat; (echo $i | busybox wc) > /dev/null
		done' ;;
	untar) on_loop /tmp/untar 400M ext4 /mnt/untar
		load untar "tar -xf /headers.tar -C /mnt/untar; sync" ;;
	hackbench) load hackbench "hackbench -g 5 -l 250 > /dev/null" ;;
	hackbench_threads) load hackbench_threads "hackbench -T -g 5 -l 250 > /dev/null" ;;
	context) load context "stress-ng --quiet --seed 1 --context 1 --context-ops 1000" ;;
	clone) load clone "stress-ng --quiet --seed 1 --clone 1 --clone-ops 300" ;;
	*) echo "loads.sh: no load '$name'" >&2 ;;
	esac
done

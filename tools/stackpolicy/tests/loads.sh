# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0
# Sourced: short loads of many kinds, each as the argument of a command. Expects a file
# system at /mnt/xfs.

loads()
{
	mkdir -p /mnt/xfs/d
	"$1" "dd if=/dev/zero of=/mnt/xfs/d/f bs=64k count=5 conv=fsync"
	"$1" "cp /bin/busybox /mnt/xfs/d/; sync"
	"$1" "/mnt/xfs/d/busybox true"
	"$1" "ls -lR /mnt/xfs /proc/self"
	"$1" "rm -r /mnt/xfs/d"
	"$1" "cat /proc/self/maps /proc/meminfo /proc/1/stack"
	"$1" "echo x | timeout 1 nc 127.0.0.1 9"
	"$1" "ls -R /sys/kernel/mm"
	"$1" "(sleep 0.01) | cat"
	"$1" "mount -t tmpfs x /tmp; umount /tmp"
	"$1" "ps; kill -0 1; id"
	"$1" "cat /dev/vda"
	"$1" "stackpolicy class show; stackpolicy thread show"
	"$1" "ifconfig -a; ip addr; route"
}

quietly()
{
	sh -c "$1" > /dev/null 2>&1
}

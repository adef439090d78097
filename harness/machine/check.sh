#!/bin/bash
# Runs as a service in the guest of "make machine", on whichever kernel it was booted with,
# and prints TAP. In that of "make test", which says "quick", without the loads: its kernel
# has not got what they need. Then the machine is turned off.
n=0
# As it was booted: the sample of livepatch replaces what the file says.
cmdline=$(cat /proc/cmdline)
prom=/var/lib/prometheus/node-exporter/stackpolicy.prom

# check NAME COMMAND...: one test.
check()
{
	local name=$1 rc=0
	shift
	"$@" > /tmp/check.log 2>&1 || rc=$?
	n=$((n + 1))
	if [ $rc -eq 0 ]; then
		echo "ok $n $name"
	else
		sed 's/^/# /' /tmp/check.log
		echo "not ok $n $name: $* returned $rc"
	fi
}

# A service that waits for all others would wait for itself.
services_are_up()
{
	local i
	for i in $(seq 300); do
		[ "$(systemctl list-jobs --no-legend | grep -cv machine-check)" -ne 0 ] || break
		sleep 1
	done
	systemctl list-jobs
	systemctl --failed --no-legend
	[ -z "$(systemctl --failed --no-legend)" ]
}

no_warning()
{
	! dmesg | grep -E "WARNING:|BUG:|Oops|INFO: task|possible recursive|Call Trace"
}

# counted KEY: of all classes.
counted()
{
	bpftool map dump name stack_stats | sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" |
		awk '{ n += $1 } END { print n + 0 }'
}

metrics_are_read()
{
	systemctl start stackpolicy-metrics.timer stackpolicy-metrics.service &&
		[ -s $prom ] || return
	if [[ $cmdline != *quick* ]]; then
		promtool check metrics < $prom || return
	fi
	exec 3<>/dev/tcp/127.0.0.1/9100
	printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
	grep '^stack_policy_' <&3
}

completes()
{
	# shellcheck disable=SC2016
	bash -c '. /usr/share/bash-completion/bash_completion
		. /usr/share/bash-completion/completions/stackpolicy
		complete -p stackpolicy'
}

# Threads that have slept for ten seconds have given stack back.
sleepers_give_back()
{
	local i enough=20
	[[ $cmdline != *quick* ]] || enough=10
	for i in $(seq 60); do
		[ "$(counted trims_cold)" -lt $enough ] || return 0
		sleep 1
	done
	counted trims_cold
	return 1
}

xfs_on_a_loop_device()
{
	truncate -s 600M /var/tmp/xfs.img && mkfs.xfs -q /var/tmp/xfs.img &&
		mount -o loop /var/tmp/xfs.img /mnt/xfs
}

# All of them fit there: what finds no space is no failure of the kernel.
stress()
{
	stress-ng --temp-path /mnt/xfs --timeout 15 --hdd 2 --hdd-bytes 64M --iomix 2 \
		--iomix-bytes 64M --fork 2 --sock 2 --epoll 2 \
		--dir 2 --rename 1 --pipe 2 --futex 2 --clone 1 --fault 2
}

# As many layers as there are, with a file system on the last.
dm_layers()
{
	local i size
	truncate -s 400M /var/tmp/dm.img
	size=$((400 * 2048))
	ln -s "$(losetup -f --show /var/tmp/dm.img)" /dev/mapper/layer0
	for i in $(seq 120); do
		dmsetup create "layer$i" \
			--table "0 $size linear /dev/mapper/layer$((i - 1)) 0" || return
	done
	mkfs.xfs -q /dev/mapper/layer120 && mkdir -p /mnt/dm &&
		mount /dev/mapper/layer120 /mnt/dm &&
		dd if=/dev/zero of=/mnt/dm/file bs=1M count=64 conv=fsync &&
		echo 3 > /proc/sys/vm/drop_caches && cat /mnt/dm/file > /dev/null &&
		umount /mnt/dm
}

sent_by()
{
	cat "/sys/class/net/$1/statistics/tx_packets"
}

# Three tunnels, each through the one before: a fourth is a "dead loop" for the kernel. Nobody
# answers. What counts is the way down.
tunnels()
{
	local i under=dummy0 before
	ip link add dummy0 type dummy && ip address add 10.0.0.1/24 dev dummy0 &&
		ip link set dummy0 up || return
	for i in $(seq 3); do
		ip link add "tunnel$i" type gre local "10.0.$((i - 1)).1" \
			remote "10.0.$((i - 1)).2" dev "$under" &&
			ip address add "10.0.$i.1/24" dev "tunnel$i" &&
			ip link set "tunnel$i" up || return
		under=tunnel$i
	done
	before=$(sent_by dummy0)
	ping -c 5 -i 0.2 -W 1 10.0.3.2
	! dmesg | grep "Dead loop" && [ "$(sent_by dummy0)" -ge $((before + 5)) ]
}

bpf_programs()
{
	bpftool prog show && bpftool map show && bpftool btf dump file /sys/kernel/btf/vmlinux |
		head -n 1000 > /dev/null
}

# Until all threads, cold ones too, are known to be outside what is replaced; and back.
livepatch()
{
	local sample=/sys/kernel/livepatch/livepatch_sample i
	modprobe livepatch-sample || return
	for i in $(seq 120); do
		[ "$(cat $sample/transition)" != 0 ] || break
		sleep 1
	done
	grep "this has been live patched" /proc/cmdline && echo 0 > $sample/enabled || return
	for i in $(seq 120); do
		rmmod livepatch-sample 2>/dev/null && return
		sleep 1
	done
	cat $sample/transition
	return 1
}

# What is saved is there after a boot, which is when the unit is started. Of a function that nobody
# calls: see patches= in harness/boot.sh.
ensures_are_restored()
{
	stackpolicy ensure add kernel_restart 8000 && stackpolicy ensure save &&
		stackpolicy ensure flush && systemctl enable --now stackpolicy-ensure.service &&
		stackpolicy ensure list | grep "^kernel_restart *8000$" &&
		systemctl restart stackpolicy-ensure.service &&
		stackpolicy ensure list | grep "^kernel_restart *8000$"
}

# What systemd starts there, it clones right into the cgroup.
cgroups_are_assigned()
{
	local slice=/sys/fs/cgroup/assigned.slice class i
	systemd-run --quiet --slice=assigned.slice --unit=before sleep 1000 &&
		stackpolicy class assign task-big --cgroup $slice &&
		systemd-run --quiet --slice=assigned.slice --unit=after sleep 1000 || return
	for i in $(seq 30); do
		class=$(sed -n "s/^class: //p" "/proc/$(systemctl show -P MainPID after)/stack_policy")
		[ "$class" != task-big ] || break
		sleep 1
	done
	[ "$class" = task-big ] && stackpolicy class assign task --cgroup $slice &&
		systemctl stop before after && [ -z "$(ls /sys/fs/bpf/stackpolicy/class)" ]
}

# To a newer build, which keeps what runs; then without it, and nothing of it stays.
package_upgrades()
{
	local folder=/var/tmp/package
	dpkg-deb -R "$(dirname "$0")"/stackpolicy_*.deb $folder &&
		sed -i 's/^Version: .*/&+newer/' $folder/DEBIAN/control &&
		dpkg-deb -b $folder /var/tmp/newer.deb && dpkg -i /var/tmp/newer.deb || return
	dpkg -s stackpolicy | grep "^Version: .*+newer$" && stackpolicy class show &&
		systemctl is-active stackpolicy-metrics.timer && metrics_are_read
}

package_is_removed()
{
	dpkg -r stackpolicy && systemctl daemon-reload || return
	# A program goes a moment after its last reference.
	for _ in $(seq 30); do
		bpftool prog show | grep stack_ensure || break
		sleep 1
	done
	! bpftool prog show | grep stack_ensure || return
	! systemctl is-active stackpolicy-metrics.timer || return
	dpkg -P stackpolicy && ! find /usr /etc /lib /var/lib -xdev -name '*stackpolicy*' ! -name "*$(uname -r)*" | grep -v /dpkg/ || return
	# The policy stays: it is the kernel's.
	bpftool map dump name stack_policy > /dev/null && [ -z "$(systemctl --failed --no-legend)" ]
}

overflows_are()
{
	[ "$(counted grows_fault)" -eq "$1" ] || {
		dmesg | grep stack_policy:
		return 1
	}
}

echo "# selftest"
{
	uname -r
	echo "$cmdline"
} | sed 's/^/# /'
check services_are_up services_are_up
check no_warning_at_boot no_warning
if [ -e /proc/sys/kernel/stack_policy ]; then
	check package_is_installed dpkg -s stackpolicy
	check sysctl_of_the_fragment grep -q "user-worker=16/32" /proc/sys/kernel/stack_policy
	check bpftool_shows_the_table bpftool map dump name stack_policy
	check the_tool_shows_the_table stackpolicy class show
	check the_tool_probes stackpolicy feature probe
	check man_page man -w stackpolicy-class
	check completion completes
	check metrics_are_read metrics_are_read
	check ensures_are_restored ensures_are_restored
	check cgroups_are_assigned cgroups_are_assigned
	check sleepers_give_back sleepers_give_back
	echo "# after boot: $(counted threads) threads, $(counted grows_fault) overflows, KernelStack $(
		sed -n 's/KernelStack: *//p' /proc/meminfo)"
fi
check bpf_programs bpf_programs
if [[ $cmdline != *quick* ]]; then
	check xfs_on_a_loop_device xfs_on_a_loop_device
	check stress_on_xfs stress
	check dm_layers dm_layers
	check tunnels tunnels
	[ ! -e /proc/sys/kernel/stack_policy ] || check livepatch livepatch
fi
if [ -e /proc/sys/kernel/stack_policy ]; then
	echo "# at the end: $(counted threads) threads, $(counted grows_fault) overflows, $(
		counted late_starts) late starts, KernelStack $(
		sed -n 's/KernelStack: *//p' /proc/meminfo)"
	# For whom a big stack would be.
	stackpolicy thread show --class kthread --sort high --top 20 | sed 's/^/# /'
	[[ $cmdline != *stack_policy=conservative* ]] || check no_overflow overflows_are 0
	check package_upgrades package_upgrades
	check package_is_removed package_is_removed
fi
check no_warning_at_the_end no_warning
echo "1..$n"
echo "# end"
systemctl poweroff

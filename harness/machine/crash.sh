#!/bin/bash
# Runs in the guest of "make machine" twice: the machine crashes as how=WORD says; and when it
# has been started again, crash reads what kdump has saved.
here=$(dirname "$0")
how=$(sed -n 's/.*\bhow=\([a-z]*\).*/\1/p' /proc/cmdline)
dumps=$(echo /var/crash/*/dump.*)

# Threads that sleep, each with a page; and one whose end this is.
die()
{
	systemctl start kdump-tools
	kdump-config show
	[ "$(cat /sys/kernel/kexec_crash_loaded)" = 1 ] || return
	echo 1 > /proc/sys/kernel/stack_policy_cold_secs
	"$here/threads" 200 > /dev/null &
	for _ in $(seq 120); do
		[ "$(cat /proc/$!/task/*/stack_policy | grep -c "mapped_kb: 4$")" -lt 200 ] || break
		sleep 1
	done
	# In user mode: where a CPU is idle, crash 8.0.6 stumbles over an exception stack that
	# this kernel does not have.
	for cpu in 0 1; do
		taskset -c $cpu sh -c "while :; do :; done" &
	done
	sysctl kernel.panic_on_oops=1
	sync
	case $how in
	# Past the limit of its class: no stack can grow there.
	overflow)
		stackpolicy class set kthread populate=8 limit=16
		insmod "$here/stack_policy_sample-$(uname -r).ko"
		echo 20000 > /sys/module/stack_policy_sample/parameters/overflow ;;
	sysrq) echo c > /proc/sysrq-trigger ;;
	esac
	sleep 60
}

read_dump()
{
	cat > /var/tmp/commands <<-END
		set scroll off
		ps > /var/tmp/ps
		log > /var/tmp/log
		foreach bt > /var/tmp/before
		quit
	END
	crash -s --no_panic -i /var/tmp/commands "$here/vmlinux-$(uname -r)" "${dumps%% *}" < /dev/null
	for part in ps before; do
		echo "## $part"
		cat /var/tmp/$part
	done
	echo "## log"
	grep -E "kstack: |stack_policy: |BUG: |sysrq: " /var/tmp/log
}

uname -r | sed 's/^/# /'
if [ -e "${dumps%% *}" ]; then
	read_dump
	echo "# end"
else
	die
fi 2>&1
systemctl poweroff

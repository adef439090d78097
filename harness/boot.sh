# shellcheck shell=bash disable=SC2154
# Sourced: boot the kernel in QEMU. Console and results are two serial ports.

# A /dev/kvm may be there and not able to run a kernel: try ours, for a moment.
accelerator()
{
	[ -w /dev/kvm ] || { echo tcg; return; }
	if [ ! -f "$out/accelerator" ]; then
		local rc=0
		timeout 20 qemu-system-x86_64 -accel kvm -cpu host -m 512M -display none \
			-no-reboot -monitor none -serial null -serial "file:$out/probe" \
			-kernel "$obj/arch/x86/boot/bzImage" -initrd "$out/initramfs.gz" \
			-append "mode=probe panic=-1" </dev/null >/dev/null 2>&1 || rc=$?
		if [ $rc -eq 0 ] && grep -qs '^probe ok' "$out/probe"; then
			echo kvm > "$out/accelerator"
		else
			echo tcg > "$out/accelerator"
		fi
	fi
	cat "$out/accelerator"
}

qemu_is_at_least()
{
	qemu-system-x86_64 --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p' |
		{ echo "$1"; cat; } | sort -CV
}

# boot NAME SECONDS [WORDS...]: console to $out/NAME.console, results to $out/NAME.results.
# init does what mode=NAME says, or a mode among WORDS. With $cpus virtual CPUs,
# $memory, $kernel and $image, and a disk to read from, $disk; a second one to write to if
# $swap is a file, and $nodes nodes with 1 GB and a CPU each; if $count is set, in a machine
# whose clock counts instructions; if $qmp is, that is a socket for QEMU's commands; if
# $input is, one for who types; if $patches is, the guest patches its code all the time.
cpus=2
swap=
nodes=
qmp=
input=
kernel=
disk=
memory=2G
image=$out/initramfs.gz
count=
patches=
boot()
{
	local mode=$1 seconds=$2 accel cpu=max command tail rc=0 node
	shift 2
	accel=tcg
	[ -n "$count" ] || accel=$(accelerator)
	[ "$accel" = tcg ] || cpu=host
	# Before 8.1, what emulates one CPU may translate a breakpoint that another one is just
	# removing, and keep it: "int3: when running LTP tracing", Linux kernel list, July 2023.
	if [ -n "$patches" ] && [ "$accel" = tcg ] && ! qemu_is_at_least 8.1; then
		accel=tcg,thread=single
	fi
	rm -f "$out/$mode.console" "$out/$mode.results"
	[ -f "${disk:=$out/disk}" ] || truncate -s 16M "$disk"
	command=(qemu-system-x86_64 -accel "$accel" -cpu "$cpu" -smp "$cpus${nodes:+,sockets=$nodes}" -m "$memory"
		-display none -no-reboot
		-kernel "${kernel:-$obj/arch/x86/boot/bzImage}")
	[ -z "$image" ] || command+=(-initrd "$image")
	if [ -n "$count" ]; then
		# Without seed and date figures differ by 0.6 % from run to run; with
		# those CPU features each turn of a REP counts as an instruction.
		command+=(-icount "shift=0,sleep=off" -seed 42 -rtc "base=2026-01-01,clock=vm")
		set -- nokaslr norandmaps clearcpuid=erms,rep_good,fsrm,fsrs "$@"
	else
		# The check of the timer, which a busy host may delay, panics.
		set -- no_timer_check "$@"
		# A disk answers when the host has time.
		command+=(-drive "file=$disk,if=none,id=disk,format=raw,readonly=on"
			-device "virtio-blk-pci,drive=disk")
		[ -z "$swap" ] || command+=(-device "virtio-blk-pci,drive=swap"
			-drive "file=$swap,if=none,id=swap,format=raw")
		for ((node = 0; node < ${nodes:-0}; node++)); do
			command+=(-object "memory-backend-ram,size=1G,id=node$node"
				-numa "node,memdev=node$node,cpus=$node")
		done
	fi
	[ -z "$qmp" ] || command+=(-qmp "unix:$qmp,server=on,wait=off")
	# Who writes to a page that was freed is found when it is allocated again.
	[ "$DEBUG" != 1 ] || set -- page_poison=1 "$@"
	if [ "$mode" = shell ]; then
		command+=(-serial mon:stdio -serial null)
	elif [ -n "$input" ]; then
		command+=(-chardev "socket,id=console,path=$input,server=on,wait=off,logfile=$out/$mode.console"
			-serial chardev:console -serial "file:$out/$mode.results")
	else
		command+=(-serial "file:$out/$mode.console" -serial "file:$out/$mode.results")
	fi
	# The name of a run is not for the guest to know: what it does may depend on it.
	[[ " $*" == *" mode="* ]] || set -- "mode=$mode" "$@"
	command+=(-append "console=ttyS0 panic=-1 $*")
	printf '+'
	printf ' %q' "${command[@]}"
	echo
	if [ "$mode" = shell ]; then
		"${command[@]}"
	elif [ "$V" = 1 ]; then
		tail -F "$out/$mode.console" 2>/dev/null &
		tail=$!
		timeout "$seconds" "${command[@]}" </dev/null || rc=$?
		kill $tail
	else
		timeout "$seconds" "${command[@]}" > "$out/$mode.qemu" 2>&1 </dev/null &
		watch "boot: $mode" $! || rc=$?
		cat "$out/$mode.qemu"
	fi
	return $rc
}

# shellcheck shell=bash disable=SC2154
# Sourced: boot the kernel in QEMU. Console and results are two serial ports.

# A /dev/kvm may be there and not able to run a kernel: try ours, for a moment.
accelerator()
{
	[ -w /dev/kvm ] || { echo tcg; return; }
	if [ ! -f "$O/accelerator" ]; then
		local rc=0
		timeout 20 qemu-system-x86_64 -accel kvm -cpu host -m 512M -display none \
			-no-reboot -monitor none -serial null -serial "file:$O/probe.out" \
			-kernel "$obj/arch/x86/boot/bzImage" -initrd "$O/initramfs.gz" \
			-append "mode=probe panic=-1" </dev/null >/dev/null 2>&1 || rc=$?
		if [ $rc -eq 0 ] && grep -qs '^probe ok' "$O/probe.out"; then
			echo kvm > "$O/accelerator"
		else
			echo tcg > "$O/accelerator"
		fi
	fi
	cat "$O/accelerator"
}

# boot NAME SECONDS [WORDS...]: console to $O/NAME.console, results to $O/NAME.results.
# init does what mode=NAME says, or a mode among WORDS. With $cpus virtual CPUs,
# $memory and $image; if $count is set, in a machine whose clock counts instructions.
cpus=2
memory=2G
image=$O/initramfs.gz
count=
boot()
{
	local mode=$1 seconds=$2 accel cpu=max command tail rc=0
	shift 2
	accel=tcg
	[ -n "$count" ] || accel=$(accelerator)
	[ "$accel" = tcg ] || cpu=host
	rm -f "$O/$mode.console" "$O/$mode.results"
	[ -f "$O/disk" ] || truncate -s 16M "$O/disk"
	command=(qemu-system-x86_64 -accel "$accel" -cpu "$cpu" -smp "$cpus" -m "$memory"
		-display none -no-reboot
		-kernel "$obj/arch/x86/boot/bzImage" -initrd "$image")
	if [ -n "$count" ]; then
		# Without seed and date figures differ by 0.6 % from run to run; with
		# those CPU features each turn of a REP counts as an instruction.
		command+=(-icount "shift=0,sleep=off" -seed 42 -rtc "base=2026-01-01,clock=vm")
		set -- "$@" nokaslr norandmaps clearcpuid=erms,rep_good,fsrm,fsrs
	else
		# A disk answers when the host has time.
		command+=(-drive "file=$O/disk,if=none,id=disk,format=raw,readonly=on"
			-device "virtio-blk-pci,drive=disk")
	fi
	# Who writes to a page that was freed is found when it is allocated again.
	[ "$DEBUG" != 1 ] || set -- "$@" page_poison=1
	if [ "$mode" = shell ]; then
		command+=(-serial mon:stdio -serial null)
	else
		command+=(-serial "file:$O/$mode.console" -serial "file:$O/$mode.results")
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
		tail -F "$O/$mode.console" 2>/dev/null &
		tail=$!
		timeout "$seconds" "${command[@]}" </dev/null || rc=$?
		kill $tail
	else
		timeout "$seconds" "${command[@]}" > "$O/$mode.qemu" 2>&1 </dev/null &
		watch "boot: $mode" $! || rc=$?
		cat "$O/$mode.qemu"
	fi
	return $rc
}

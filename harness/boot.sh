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

# boot MODE SECONDS [WORDS...]: console to $O/MODE.console, results to $O/MODE.results.
boot()
{
	local mode=$1 seconds=$2 accel cpu=max command
	shift 2
	accel=$(accelerator)
	[ "$accel" = tcg ] || cpu=host
	rm -f "$O/$mode.console" "$O/$mode.results"
	command=(qemu-system-x86_64 -accel "$accel" -cpu "$cpu" -smp 2 -m 2G
		-display none -no-reboot
		-kernel "$obj/arch/x86/boot/bzImage" -initrd "$O/initramfs.gz")
	if [ "$mode" = shell ]; then
		command+=(-serial mon:stdio -serial null)
	else
		command+=(-serial "file:$O/$mode.console" -serial "file:$O/$mode.results")
	fi
	command+=(-append "console=ttyS0 mode=$mode panic=-1 $*")
	printf '+'
	printf ' %q' "${command[@]}"
	echo
	if [ "$mode" = shell ]; then
		"${command[@]}"
	else
		timeout "$seconds" "${command[@]}" </dev/null
	fi
}

# shellcheck shell=bash disable=SC2034,SC2154
# Sourced: crash dumps, taken by kdump in the guest and by QEMU from outside, and
# read by crash on the host.

# build_dump_image: the guest that crashes, with its crash kernel and what that boots
# into, which saves the dump.
build_dump_image()
{
	local root=$out/dump-root save=$out/save-root dir
	rm -rf "$root" "$save"
	for dir in "$root" "$save"; do
		mkdir -p "$dir"/{bin,proc,sys,dev,tmp,mnt,lib/modules}
		cp "$top/harness/init" "$dir/init"
		cp /bin/busybox "$dir/bin/"
	done
	copy_with_libs "$(command -v makedumpfile || echo /usr/sbin/makedumpfile)" "$save"
	copy_with_libs "$(command -v kexec || echo /usr/sbin/kexec)" "$root"
	cp "$out/root/bin/threads" "$root/bin/"
	copy_modules "$root"
	pack "$save" > "$root/save.gz"
	cp "$obj/arch/x86/boot/bzImage" "$root/"
	pack "$root" > "$out/dump.gz"
}

build_extension()
{
	make -C "$src/tools/stackpolicy/crash" OUTPUT="$O/crash/"
}

# A disk for what the crash kernel saves.
boot_kdump()
{
	local swap=$out/kdump.disk image=$out/dump.gz memory=1G
	rm -f "$swap" "$out"/kdump.{vmcore,elf}
	truncate -s 512M "$swap"
	/sbin/mke2fs -q -F -t ext4 "$swap"
	boot kdump 900 crashkernel=256M || :
	/sbin/debugfs -R "dump /vmcore $out/kdump.vmcore" "$swap"
	/sbin/debugfs -R "dump /vmcore.elf $out/kdump.elf" "$swap"
	rm -f "$swap"
}

# A guest that runs. It ends when it is told to.
boot_dumped()
{
	local image=$out/dump.gz memory=1G qmp=$out/qmp dump
	rm -f "$out/dumped.vmcore"
	python3 ./qmp.py dump "$qmp" "$out/dumped.results" "$out/dumped.vmcore" \
		> "$out/qmp.log" 2>&1 &
	dump=$!
	boot dumped 900 nokaslr || :
	wait $dump || cat "$out/qmp.log"
}

# Older ones do not know this kernel.
crash_is_new_enough()
{
	local version
	version=$(crash --version | sed -n 's/^crash //p')
	printf '%s\n' 8.0.6 "$version" | sort -VC
}

# read_dump NAME ELF: each span, to NAME.spans. And what crash says of NAME.vmcore, to
# NAME.before, and NAME.after with the extension.
read_dump()
{
	rm -f "$out/$1".{spans,ps,before,after,log,kstack}
	python3 ./spans.py "$obj/vmlinux" "$out/$2" > "$out/$1.spans" || :
	if ! crash_is_new_enough; then
		crash --version | grep -m 1 '^crash ' > "$out/crash.too.old"
		return
	fi
	rm -f "$out/crash.too.old"
	cat > "$out/$1.commands" <<-END
		set scroll off
		ps > $out/$1.ps
		log > $out/$1.log
		foreach bt > $out/$1.before
		extend $O/crash/stackpolicy.so
		foreach bt > $out/$1.after
		kstack > $out/$1.kstack
		quit
	END
	timeout 600 crash -s --no_panic -i "$out/$1.commands" "$obj/vmlinux" "$out/$1.vmcore" \
		</dev/null || :
}

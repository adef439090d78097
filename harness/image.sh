# shellcheck shell=bash disable=SC2154
# Sourced: build the initramfs that the guest boots into.

copy_with_libs()
{
	local program=$1 root=$2 lib
	cp -L "$program" "$root/bin/${3:-}"
	{ ldd "$program" 2>/dev/null || :; } | grep -o '/[^ ]*' | while read -r lib; do
		mkdir -p "$root$(dirname "$lib")"
		cp -Ln "$lib" "$root$lib"
	done
}

build_image()
{
	local root=$out/root tests=$src/tools/testing/selftests
	rm -rf "$root"
	mkdir -p "$root"/{bin,proc,sys,dev,tmp,lib/modules}
	cp "$top/harness/init" "$root/init"
	cp /bin/busybox "$root/bin/"
	copy_with_libs "$(command -v bpftool || echo /usr/sbin/bpftool)" "$root"
	local test program
	for program in mkfs.xfs mkfs.erofs dmsetup ip; do
		copy_with_libs "$(command -v $program || echo /usr/sbin/$program)" "$root"
	done
	for test in stack_policy_test overflow_test trim_test wake_test recover_test caller_test; do
		gcc -std=gnu11 -O2 -Wall -static -pthread -I"$tests" -I"$src/tools/include" \
			-o "$root/bin/$test" "$tests/stack_policy/$test.c"
	done
	copy_with_libs "$O/tool/stackpolicy" "$root"
	copy_with_libs "$O/tool-asan/stackpolicy" "$root" stackpolicy_asan
	copy_with_libs "$(command -v jq)" "$root"
	# Busybox has them too, but cannot change the user, or have cgroups of its own.
	copy_with_libs "$(command -v setpriv)" "$root" util_setpriv
	copy_with_libs "$(command -v unshare)" "$root" util_unshare
	mkdir -p "$root/tests" && cp "$src"/tools/stackpolicy/tests/*.sh "$root/tests/"
	gcc -std=gnu11 -O2 -static -pthread -o "$root/bin/threads" "$src/tools/stackpolicy/tests/threads.c"
	ln "$root/bin/threads" "$root/bin/hostile_name"
	# The kernel's own, unmodified: a test of IRET to 16-bit stacks, and who reads taskstats.
	gcc -O2 -w -static -o "$root/bin/sigreturn_test" "$tests/x86/sigreturn.c"
	gcc -O2 -w -static -include "$src/include/uapi/linux/taskstats.h" \
		-o "$root/bin/getdelays" "$src/tools/accounting/getdelays.c"
	copy_modules "$root"
	# What the kernel loads by itself where it is asked for.
	make_kernel INSTALL_MOD_PATH="$root" INSTALL_MOD_STRIP=1 modules_install
	ln -s bin "$root/sbin"
	pack "$root" > "$out/initramfs.gz"
}

copy_modules()
{
	find "$obj/arch/x86/kvm" "$obj/virt/lib" -name '*.ko' -exec cp {} "$1/lib/modules/" \;
	cp "$obj"/modules/*/stack_policy_*.ko "$1/lib/modules/"
	strip --strip-debug "$1"/lib/modules/*.ko
}

# The same image from the same files: what is loaded where moves figures.
pack()
{
	(cd "$1" && find . -exec touch -h -d @0 {} + &&
		find . -print0 | LC_ALL=C sort -z |
		cpio -0 -o -H newc --quiet --reproducible -R 0:0 | gzip -1n)
}

# build_bench_image IMAGE: what "make bench" runs, for the kernel in $obj.
build_bench_image()
{
	local root=$O/bench-root dir=$top/tools/testing/selftests/stack_policy/bench program
	rm -rf "$root"
	mkdir -p "$root"/{bin,proc,sys,dev,tmp,lib/modules}
	cp "$top/harness/init" "$root/init"
	cp /bin/busybox "$dir/loads.sh" "$root/bin/"
	copy_with_libs "$O/tool/stackpolicy" "$root"
	for program in mkfs.xfs mkfs.ext4 hackbench stress-ng; do
		copy_with_libs "$(command -v $program || echo /usr/sbin/$program)" "$root"
	done
	gcc -std=gnu11 -O2 -Wall -static -pthread -o "$root/bin/stack_policy_bench" "$dir"/*.c
	tar -C "$O/stock/include" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
		-cf "$root/headers.tar" linux
	copy_modules "$root"
	make_kernel INSTALL_MOD_PATH="$root" INSTALL_MOD_STRIP=1 modules_install
	ln -s bin "$root/sbin"
	pack "$root" > "$1"
}

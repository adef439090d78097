#!/bin/bash
# make stress MINUTES=n: overflows without end on four CPUs, under interrupts
# from everywhere; at least 100,000 of them. Nothing may be lost or damaged.
cd "$(dirname "$0")" || exit
. ./lib.sh
. ./image.sh
. ./boot.sh

case $MINUTES in
*[!0-9]*|'') die "MINUTES=$MINUTES is not a number" ;;
esac
build_kernel
step "build the initramfs" build_image
cpus=4
# A kernel image is somebody else's file: no damage to it may crash who reads it.
fuzz()
{
	objcopy --strip-debug "$obj/vmlinux" "$out/vmlinux.small"
	{
		echo "# selftest"
		python3 "$top/tools/stackpolicy/tests/fuzz.py" "$O/tool-asan/stackpolicy" \
			"$out/vmlinux.small" $((MINUTES * 60))
		echo "# end"
	} > "$out/host.results"
}
step "fuzz stackpolicy's analysis" fuzz
rc=0
boot stress $((MINUTES * 60 + 7200)) kunit.enable=1 minutes="$MINUTES" || rc=$?
exec python3 ./verdict.py "$out" "$rc" stress

# shellcheck shell=bash
# Sourced by the other scripts: settings, messages, long steps.
set -euo pipefail

# What this make was told, O= for one, is not for those that it starts.
unset MAKEFLAGS MAKEOVERRIDES

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$O"
O=$(cd "$O" && pwd)
src=$O/src
case $DEBUG in
0) fragment= ;;
1) fragment=debug ;;
kcsan) fragment=kcsan ;;
*) echo "error: DEBUG=$DEBUG: 0, 1 or kcsan" >&2; exit 2 ;;
esac
# Of each configuration: the kernel's objects; images, logs and results.
obj=$O/obj${fragment:+-$fragment}
out=$O/out${fragment:+-$fragment}
mkdir -p "$out"
jobs=$(nproc)

die()
{
	echo "error: $*" >&2
	exit 1
}

# watch TEXT PID: dots while it runs, the time taken; returns its status.
watch()
{
	local text=$1 pid=$2 start=$SECONDS rc=0
	printf '%-44s' "$text"
	while kill -0 "$pid" 2>/dev/null; do
		sleep 1
		[ $(((SECONDS - start) % 15)) -ne 0 ] || printf .
	done
	wait "$pid" || rc=$?
	printf ' %d s\n' $((SECONDS - start))
	return $rc
}

# step TEXT COMMAND...: run it, its output in a log. It has to succeed.
step()
{
	local text=$1
	shift
	if [ "$V" = 1 ]; then
		echo "$text"
		"$@"
		return
	fi
	"$@" > "$out/step.log" 2>&1 </dev/null &
	watch "$text" $! || {
		tail -n 40 "$out/step.log" >&2
		die "$text failed; the whole output is in $out/step.log"
	}
}

# What this runs on, in one line.
about()
{
	(
		. /etc/os-release
		echo "$PRETTY_NAME, $(gcc --version | head -n 1), $(qemu-system-x86_64 --version |
			sed -n '1s/ version / /p'), Linux $(make_kernel -s kernelversion)"
	)
}

source_tarball()
{
	local tarball=/usr/src/linux-source-6.12.tar.xz
	[ -f $tarball ] || die "$tarball is missing: install linux-source-6.12"
	echo $tarball
}

# The stock source: once for stock, plain and debugging kernels.
prepare_stock()
{
	local key
	key=$(stat -c '%s %Y' "$(source_tarball)")
	if [ "$(cat "$O/stock.key" 2>/dev/null)" != "$key" ]; then
		rm -f "$O/stock.key"
		step "unpack the kernel source" unpack_stock
		echo "$key" > "$O/stock.key"
	fi
}

unpack_stock()
{
	rm -rf "$O/stock"
	mkdir -p "$O/stock"
	tar -C "$O/stock" -xf "$(source_tarball)" --strip-components=1
}

# Patch a copy, whose files are links until they are patched, then copy what differs:
# nothing else is rebuilt.
patch_source()
{
	local new=$O/src.new patch
	rm -rf "$new"
	cp -rl "$O/stock" "$new"
	while read -r patch; do
		patch -d "$new" -p1 -F0 -s --no-backup-if-mismatch \
			< "$top/patches/6.12/$patch" || {
			echo "$patch does not apply to 6.12.$(sed -n \
				's/^SUBLEVEL = //p' "$new/Makefile")"
			return 1
		}
	done < "$top/patches/6.12/series"
	if [ -d "$src" ]; then
		rsync -rlpc --delete "$new/" "$src/"
		rm -rf "$new"
	else
		mv "$new" "$src"
	fi
}

prepare_source()
{
	local key dir
	prepare_stock
	key=$({ cat "$top"/patches/6.12/* "$O/stock.key"; } | sha256sum)
	if [ "$(cat "$O/source.key" 2>/dev/null)" != "$key" ]; then
		rm -f "$O/source.key"
		step "patch it" patch_source
		echo "$key" > "$O/source.key"
	fi
	for dir in $OVERLAY; do
		rsync -rlpc "$top/$dir/" "$src/$dir/"
	done
}

# Our files in the kernel, without the tests that they include.
kernel_files()
{
	(cd "$top" && find arch kernel mm -name '*.c' ! -name '*_test.c' | LC_ALL=C sort)
}

# The same kernel from the same source, whenever, wherever and by whomever it is
# built: see "Reproducible builds" in the kernel's documentation. ccache keeps the
# objects in its usual folder; with paths below $O made relative, the next checkout
# finds them. Not in its depend mode: that does not see .incbin, and would take the
# bzImage of another kernel whose compressed image has the same size. The source has
# two names then, and neither may end in an object.
make_kernel()
{
	local map="-ffile-prefix-map=$src/= -ffile-prefix-map=$obj=."
	map+=" -ffile-prefix-map=$(realpath -m --relative-to="$obj" "$src")/="
	CCACHE_BASEDIR=$O make -C "$src" O="$obj" ARCH=x86 V="$V" \
		CC="ccache gcc" HOSTCC="ccache gcc" KBUILD_BUILD_TIMESTAMP="2026-01-01" \
		KBUILD_BUILD_VERSION=1 KBUILD_BUILD_USER=user KBUILD_BUILD_HOST=host \
		KCFLAGS="$map" KAFLAGS="$map" "$@"
}

# Merge the fragments; fail if a requested option did not survive.
configure()
{
	local fragments=("$top/configs/base.config" "$top/configs/stack_policy.config") line
	[ "$DEBUG" = 0 ] || fragments+=("$top/configs/$fragment.config")
	mkdir -p "$obj"
	cat "${fragments[@]}" > "$obj/fragments.new"
	if [ -f "$obj/.config" ] && cmp -s "$obj/fragments.new" "$obj/fragments" &&
	   [ "$obj/source.key" -nt "$O/source.key" ]; then
		return
	fi
	make_kernel allnoconfig KCONFIG_ALLCONFIG="$obj/fragments.new" > "$out/config.log" 2>&1 ||
		die "configuration failed, see $out/config.log"
	while read -r line; do
		case $line in CONFIG_*)
			grep -qxF "$line" "$obj/.config" || die "option $line did not survive" ;;
		esac
	done < "$obj/fragments.new"
	mv "$obj/fragments.new" "$obj/fragments"
	touch "$obj/source.key"
}

build_kernel()
{
	prepare_source
	configure
	step "build the kernel" make_kernel -j"$jobs" bzImage modules
	# Beside the objects: those of another configuration must not mix in.
	mkdir -p "$obj/modules"
	rsync -rlpc "$top/samples/stack_policy/" "$obj/modules/sample/"
	rsync -rlpc "$top/tools/testing/selftests/stack_policy/test_module/" "$obj/modules/test/"
	rsync -rlpc "$top/tools/testing/selftests/stack_policy/bench_module/" "$obj/modules/bench/"
	step "build the sample and the test modules" build_modules
	step "build stackpolicy" build_tool
}

build_modules()
{
	# Their types are numbered behind the kernel's, which kbuild forgets for these.
	find "$obj/modules" -name '*.ko' ! -newer "$obj/vmlinux" -delete
	make_kernel M="$obj/modules/sample" modules
	make_kernel M="$obj/modules/test" modules
	make_kernel M="$obj/modules/bench" modules
}

# The command line tool, and once more with the compiler's checks at run time.
build_tool()
{
	local dir=$src/tools/stackpolicy
	make -C "$dir" -j"$jobs" OUTPUT="$O/tool/"
	make -C "$dir" -j"$jobs" OUTPUT="$O/tool-asan/" \
		EXTRA_CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=all"
}

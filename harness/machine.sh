#!/bin/bash
# make machine: the machine that a user has. A kernel with the policy in Debian's own
# configuration, for the modules that the guest needs, built as a package; beside it Debian's
# own kernel of the same source; a Debian 13 guest, where dpkg installs them; its boots under
# systemd, and what is asked of it there.
cd "$(dirname "$0")" || exit
./packages.sh machine/host-packages
. ./lib.sh
. ./image.sh
. ./boot.sh
. ./package.sh
. ./guest.sh

[ "$DEBUG" = 0 ] || die "make machine has Debian's configuration, DEBUG=$DEBUG has another"
machine=$O/machine guest=$O/machine
mkdir -p "$machine"
debian=/usr/src/linux-config-6.12/config.amd64_none_cloud-amd64.xz
config=${CONFIG:-$debian}
[ -f "$top/$config" ] && config=$top/$config
[ -f "$config" ] || die "CONFIG=$config: no such file"
all=(debian_stock debian suites_stock suites programs_stock programs crash_overflow crash_sysrq
	debian_conservative)
read -ra names <<< "${MACHINE:-${all[*]}}"
for name in "${names[@]}"; do
	[[ " ${all[*]} " == *" $name "* ]] || die "MACHINE=$name: there are ${all[*]}"
done

wants_crash()
{
	[[ " ${names[*]}" == *" crash_"* ]]
}

# configure_as NAME WORDS...: as Debian has it, for our modules; its certificates are not
# in the source.
configure_as()
{
	local name=$1 line
	shift
	mkdir -p "$obj"
	{
		xzcat -f "$config" |
			sed -E 's/^(CONFIG_SYSTEM_(TRUSTED|REVOCATION)_KEYS)=.*/\1=""/'
		printf '%s\n' CONFIG_SAMPLES=y CONFIG_SAMPLE_LIVEPATCH=m \
			"CONFIG_LOCALVERSION=\"-$name\"" "$@"
		sed 's/^/# /' machine/modules
	} > "$obj/config.new"
	! cmp -s "$obj/config.new" "$obj/config.asked" || return 0
	cp "$obj/config.new" "$obj/.config"
	make_kernel olddefconfig
	make_kernel LSMOD="$top/harness/machine/modules" localmodconfig < <(yes "")
	# That takes modules that nobody loads: the sample is one.
	"$src/scripts/config" --file "$obj/.config" --module SAMPLE_LIVEPATCH
	make_kernel olddefconfig
	for line in "$@"; do
		grep -qxF "$line" "$obj/.config" || {
			echo "$config has an option that excludes $line"
			return 1
		}
	done
	mv "$obj/config.new" "$obj/config.asked"
}

# What Debian has built from the source package that is installed here.
debian_kernel()
{
	local version package list=$machine/stock-packages
	version=$(dpkg-query -W -f '${Version}' linux-source-6.12)
	package=$(apt-cache search --names-only '^linux-image-6\.12\..*-cloud-amd64-unsigned$' |
		cut -d ' ' -f 1 | xargs apt-cache show |
		awk -v version="$version" '/^Package: / { name = $2 }
			$0 == "Version: " version { print name; exit }')
	if [ -z "$package" ]; then
		echo "Debian has no linux-image-6.12...-cloud-amd64-unsigned $version"
		return 1
	fi
	rm -f "$machine"/debs/linux-image-*-cloud-amd64-unsigned_*
	mkdir -p "$machine/debs" "$machine/obj-stock"
	(cd "$machine/debs" && apt-get download "$package=$version")
	package=${package%-unsigned}
	echo "${package/-image-/-headers-}" > "$list"
	./packages.sh "$list"
	echo "${package#linux-image-}" > "$machine/obj-stock/release"
}

# kernel_packages NAME WORDS...: from $src to $machine/debs.
kernel_packages()
{
	local name=$1 obj=$machine/obj-$1
	step "configure the $name kernel" configure_as "$@"
	rm -f "$machine"/*.deb "$machine"/debs/linux-image-*"-$name"_*
	DEB_BUILD_PROFILES="pkg.linux-upstream.nokernelheaders pkg.linux-upstream.nokerneldbg" \
		step "build the package of the $name kernel" make_kernel -j"$jobs" bindeb-pkg
	mkdir -p "$machine/debs"
	mv "$machine"/linux-image-*.deb "$machine/debs/"
	rm -f "$machine"/linux-*
}

# The kernel's own tests, stock: of a suite whatever builds. In a copy, they write there.
build_suites()
{
	local copy=$machine/source obj=$machine/obj-suites line
	rm -rf "$copy" "$machine/kselftest"
	cp -rl "$O/stock" "$copy"
	make -C "$copy" O="$obj" ARCH=x86 headers_install
	# khugepaged.c of 6.12.117 does not include what has it.
	EXTRA_CFLAGS=-DKSFT_SKIP=4 make -C "$copy/tools/testing/selftests" O="$obj" -j"$jobs" install \
		TARGETS="$(grep -v '^#' machine/kselftests | paste -sd' ')" \
		INSTALL_PATH="$machine/kselftest"
	# Built, and looked for in the source.
	cp "$obj/kselftest/sched/cs_prctl_test" "$machine/kselftest/sched/"
	while read -r line; do
		[[ $line == '#'* ]] || sed -i "\\,^$line\$,d" "$machine/kselftest/kselftest-list.txt"
	done < machine/kselftests.not
}

# livepatch_tests NAME: modules of the kernel's tests, for one of the kernels.
livepatch_tests()
{
	local obj=$machine/obj-$1 modules=$machine/obj-$1/livepatch-tests
	mkdir -p "$modules"
	cp "$src"/tools/testing/selftests/livepatch/test_modules/* "$modules/"
	if [ -f "$obj/release" ]; then
		make -C "/usr/src/linux-headers-$(cat "$obj/release")" M="$modules" modules
	else
		make_kernel M="$modules" modules
	fi
}

# What a dump of the kernel is made from and read with.
build_for_crash()
{
	local obj=$machine/obj-stackpolicy sample=$machine/obj-stackpolicy/sample-module
	mkdir -p "$sample"
	cp "$top"/samples/stack_policy/* "$sample/"
	make_kernel M="$sample" modules
}

# What goes to the guest beside what is to be installed in any.
pack_all()
{
	local name extra=$machine/extra words=()
	rm -rf "$extra"
	mkdir -p "$extra"
	[ ! -d "$machine/kselftest" ] || words+=("$machine/kselftest")
	for name in "${kernels[@]}"; do
		words+=("$machine/debs/linux-image-$(release "$name")"[-_]*.deb)
		[ -d "$machine/obj-$name/livepatch-tests" ] || continue
		mkdir "$extra/livepatch-$(release "$name")"
		cp "$machine/obj-$name"/livepatch-tests/*.ko "$extra/livepatch-$(release "$name")/"
		words+=("$extra/livepatch-$(release "$name")")
	done
	if wants_crash; then
		name=$(release stackpolicy)
		cp "$machine/obj-stackpolicy/vmlinux" "$extra/vmlinux-$name"
		cp "$machine/obj-stackpolicy/sample-module/stack_policy_sample.ko" \
			"$extra/stack_policy_sample-$name.ko"
		words+=("$out/root/bin/threads" "$extra/vmlinux-$name"
			"$extra/stack_policy_sample-$name.ko")
	fi
	pack_files "${words[@]}"
}

install_all()
{
	local name what
	install_packages
	for name in "${kernels[@]}"; do
		for what in vmlinuz initrd.img; do
			rm -f "$machine/$what-$name"
			/sbin/debugfs -R "dump /boot/$what-$(release "$name") $machine/$what-$name" \
				"$guest/guest"
			[ -s "$machine/$what-$name" ]
		done
	done
}

release()
{
	cat "$machine/obj-$1/release" 2>/dev/null || make_kernel -s O="$machine/obj-$1" kernelrelease
}

# boot_of NAME: with the kernel, and for the work, that its name says. A machine that crashes
# boots again.
boot_of()
{
	local name=$1 which=stackpolicy work=${1%_*} words=() kernel image swap
	case $name in
	*_stock) which=stock ;;
	*_conservative) words=(stack_policy=conservative) ;;
	crash_*) words=("how=${name#crash_}") ;;
	esac
	[ "$work" != debian ] || work=check
	words+=("machine=$work" "suites=${SUITES// /,}")
	kernel=$machine/vmlinuz-$which image=$machine/initrd.img-$which
	case $name in
	crash_*)
		cp --sparse=always "$guest/guest" "$machine/disk.$name"
		swap=$machine/disk.$name
		boot "$name.dies" 3600 root=/dev/vdb rw crashkernel=256M "${words[@]}" || :
		boot "$name" 3600 root=/dev/vdb rw "${words[@]}" || :
		rm -f "$swap" ;;
	*) boot_guest "$name" 10800 "${words[@]}" ;;
	esac
}

# Most of what is done there waits.
boot_two()
{
	local name pids=() pid rc=0
	for name in "$@"; do
		rm -f "$out/$name".*
		boot_of "$name" > "$out/$name.boot" 2>&1 &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || rc=$?
	done
	(cd "$out" && cat "${@/%/.boot}")
	return $rc
}

build_kernel
step "build the initramfs" build_image
step "build the package of stackpolicy" new_tool_package
kernels=()
if [[ " ${names[*]} " == *_stock* ]]; then
	kernels+=(stock)
	rm -f "$machine/obj-stock/release"
	if [ -z "$CONFIG" ]; then
		step "get Debian's own kernel" debian_kernel
	else
		(src=$O/stock; kernel_packages stock)
	fi
fi
for name in "${names[@]}"; do
	[[ $name != *_stock ]] || continue
	kernels+=(stackpolicy)
	kernel_packages stackpolicy CONFIG_STACK_POLICY=y
	break
done
if [[ " ${names[*]}" == *" suites"* ]]; then
	step "build the kernel's own tests" build_suites
	[[ " ${kernels[*]} " != *" stock "* ]] || (src=$O/stock; step "and modules for them" livepatch_tests stock)
	[[ " ${kernels[*]} " != *" stackpolicy "* ]] || step "and modules for them" livepatch_tests stackpolicy
fi
! wants_crash || step "build what crashes" build_for_crash
need_guest machine/packages machine/packages.more
step "pack what goes there" pack_all
step "install the packages there" install_all
set -- "${names[@]}"
while [ $# -gt 0 ]; do
	step "boot ${*:1:2}" boot_two "${@:1:2}"
	shift $(($# > 1 ? 2 : 1))
done
MACHINE="${names[*]}" exec python3 ./verdict.py "$out" 0 machine

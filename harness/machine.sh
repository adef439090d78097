#!/bin/bash
# make machine: the machine that a user has. Debian's own configuration, for the modules
# that the guest needs, stock and with the policy, built as packages; a Debian 13 guest,
# where dpkg installs them; its boots under systemd, and what is asked of it there.
cd "$(dirname "$0")" || exit
./packages.sh machine/host-packages
. ./lib.sh
. ./image.sh
. ./boot.sh
. ./package.sh

[ "$DEBUG" = 0 ] || die "make machine has Debian's configuration, DEBUG=$DEBUG has another"
machine=$O/machine
mkdir -p "$machine"
debian=/usr/src/linux-config-6.12/config.amd64_none_cloud-amd64.xz
config=${CONFIG:-$debian}
[ -f "$top/$config" ] && config=$top/$config
[ -f "$config" ] || die "CONFIG=$config: no such file"
all=(debian_stock debian debian_conservative)
read -ra names <<< "${MACHINE:-${all[*]}}"
for name in "${names[@]}"; do
	[[ " ${all[*]} " == *" $name "* ]] || die "MACHINE=$name: there are ${all[*]}"
done

wanted()
{
	[[ " ${names[*]} " == *" $1 "* ]]
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

new_tool_package()
{
	rm -f "$O"/stackpolicy_*.deb "$machine"/debs/stackpolicy_*
	tool_package
	mkdir -p "$machine/debs"
	cp "$O"/stackpolicy_*.deb "$machine/debs/"
}

# What Debian has, with a journal, and room.
make_guest()
{
	local packages
	packages=$(grep -v '^#' machine/packages | paste -sd,)
	rm -f "$machine"/debian.{key,ext2}
	mmdebstrap --variant=minbase --include="$packages" trixie "$machine/debian.ext2"
	truncate -s 4G "$machine/debian.ext2"
	/sbin/e2fsck -fp "$machine/debian.ext2" || [ $? -le 1 ]
	/sbin/resize2fs "$machine/debian.ext2"
	/sbin/tune2fs -j "$machine/debian.ext2"
	sha256sum machine/packages > "$machine/debian.key"
}

# A disk with the packages on it, which the guest unpacks.
pack_files()
{
	local name
	rm -rf "$machine/files"
	mkdir -p "$machine/files/machine"
	cp machine/{install.sh,check.sh,machine-check.service} "$machine"/debs/stackpolicy_*.deb \
		"$machine/files/machine/"
	for name in "${kernels[@]}"; do
		cp "$machine"/debs/linux-image-*"-$name"_*.deb "$machine/files/machine/"
	done
	tar -C "$machine/files" -cf "$machine/files.tar" machine
}

install_packages()
{
	local swap=$machine/guest disk=$machine/files.tar image="" name what
	cp --sparse=always "$machine/debian.ext2" "$machine/guest"
	boot install 3600 root=/dev/vdb rw init=/bin/sh -- -c \
		'"tar -xf /dev/vda -C /opt; exec /opt/machine/install.sh"'
	grep -q '^installed' "$out/install.results" || {
		tail -n 40 "$out/install.results"
		return 1
	}
	for name in "${kernels[@]}"; do
		for what in vmlinuz initrd.img; do
			rm -f "$machine/$what-$name"
			/sbin/debugfs -R "dump /boot/$what-$(release "$name") $machine/$what-$name" \
				"$machine/guest"
			[ -s "$machine/$what-$name" ]
		done
	done
}

release()
{
	make_kernel -s O="$machine/obj-$1" kernelrelease
}

# boot_machine NAME KERNEL WORDS...: a copy of the guest, with systemd.
boot_machine()
{
	local name=$1 swap=$machine/disk.$1 kernel=$machine/vmlinuz-$2 image=$machine/initrd.img-$2
	shift 2
	cp --sparse=always "$machine/guest" "$swap"
	boot "$name" 5400 root=/dev/vdb rw "$@" || :
	rm -f "$swap"
}

build_kernel
step "build the initramfs" build_image
step "build the package of stackpolicy" new_tool_package
kernels=()
if wanted debian_stock; then
	kernels+=(stock)
	(src=$O/stock; kernel_packages stock)
fi
if wanted debian || wanted debian_conservative; then
	kernels+=(stackpolicy)
	kernel_packages stackpolicy CONFIG_STACK_POLICY=y
fi
sha256sum -c --quiet "$machine/debian.key" 2>/dev/null ||
	step "make a Debian 13 guest" make_guest
step "pack what goes there" pack_files
step "install the packages there" install_packages
for name in "${names[@]}"; do
	case $name in
	debian) boot_machine "$name" stackpolicy ;;
	debian_conservative) boot_machine "$name" stackpolicy stack_policy=conservative ;;
	debian_stock) boot_machine "$name" stock ;;
	esac
done
MACHINE="${names[*]}" exec python3 ./verdict.py "$out" 0 machine

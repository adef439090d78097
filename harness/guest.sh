# shellcheck shell=bash disable=SC2034,SC2154
# Sourced: a Debian 13 guest in $guest, with systemd, where dpkg installs packages. Each of its
# boots has a copy of the disk.

# need_guest LIST...: with the packages whose names these files have.
need_guest()
{
	mkdir -p "$guest"
	[ "$(cat "$guest/debian.key" 2>/dev/null)" = "$(cat "$@" | sha256sum)" ] ||
		step "make a Debian 13 guest" make_guest "$@"
}

# What Debian has, with a journal, and room.
make_guest()
{
	local packages
	packages=$(cat "$@" | grep -v '^#' | paste -sd,)
	rm -f "$guest"/debian.{key,ext2}
	# One that fails ends its process group.
	setsid --wait mmdebstrap --variant=minbase --include="$packages" trixie \
		"$guest/debian.ext2" 2>&1 | tee "$guest/made.log"
	truncate -s 6G "$guest/debian.ext2"
	/sbin/e2fsck -fp "$guest/debian.ext2" || [ $? -le 1 ]
	/sbin/resize2fs "$guest/debian.ext2"
	/sbin/tune2fs -j "$guest/debian.ext2"
	cat "$@" | sha256sum > "$guest/debian.key"
}

new_tool_package()
{
	rm -f "$O"/stackpolicy_*.deb "$guest"/debs/stackpolicy_*
	tool_package
	mkdir -p "$guest/debs"
	cp "$O"/stackpolicy_*.deb "$guest/debs/"
}

# pack_files FILE...: on a disk, which the guest unpacks.
pack_files()
{
	rm -rf "$guest/files"
	mkdir -p "$guest/files/machine"
	cp -r machine/{*.sh,kselftests,machine-check.service} "$guest"/debs/stackpolicy_*.deb \
		"$@" "$guest/files/machine/"
	tar -C "$guest/files" -cf "$guest/files.tar" machine
}

install_packages()
{
	local swap=$guest/guest disk=$guest/files.tar image=""
	cp --sparse=always "$guest/debian.ext2" "$guest/guest"
	boot install 3600 root=/dev/vdb rw init=/bin/sh -- -c \
		'"tar -xf /dev/vda -C /opt; exec /opt/machine/install.sh"'
	grep -q '^installed' "$out/install.results" || {
		tail -n 40 "$out/install.results"
		return 1
	}
}

# boot_guest NAME SECONDS WORDS...
boot_guest()
{
	local name=$1 seconds=$2 swap=$guest/disk.$1
	shift 2
	cp --sparse=always "$guest/guest" "$swap"
	boot "$name" "$seconds" root=/dev/vdb rw "$@" || :
	rm -f "$swap"
}

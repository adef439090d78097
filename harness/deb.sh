#!/bin/bash
# make deb: kernel packages from the harness configuration, or from CONFIG=file; and
# one of the command line tool.
cd "$(dirname "$0")" || exit
. ./lib.sh

# The command line tool: what its install rule installs, stripped and compressed.
tool_package()
{
	local dir=$src/tools/stackpolicy build=$O/tool-deb version
	local root=$build/root
	rm -rf "$build"
	mkdir -p "$root/DEBIAN"
	make -C "$dir" -j"$jobs" OUTPUT="$build/"
	make -C "$dir" OUTPUT="$build/" DESTDIR="$root" prefix=/usr install
	make -C "$dir/crash" OUTPUT="$build/" DESTDIR="$root" install
	strip "$root/usr/sbin/stackpolicy"
	strip --strip-unneeded "$root/usr/lib/crash/extensions/stackpolicy.so"
	gzip -9n "$root"/usr/share/man/man8/*.8
	install -D -m 644 "$dir/debian/copyright" "$root/usr/share/doc/stackpolicy/copyright"

	version=$(sed -n 's/^VERSION[[:space:]]*:= //p' "$dir/Makefile")
	cp -r "$dir/debian" "$build/"
	printf 'stackpolicy (%s) unstable; urgency=medium\n\n  * See the kernel source.\n\n -- %s  %s\n' \
		"$version" "$(sed -n 's/^Maintainer: //p' "$dir/debian/control")" \
		"$(date -R)" > "$build/debian/changelog"
	(
		cd "$build"
		dpkg-shlibdeps root/usr/sbin/stackpolicy
		dpkg-gencontrol -Proot
		cd root
		find usr -type f -exec md5sum {} + > DEBIAN/md5sums
	)
	dpkg-deb --build --root-owner-group "$root" "$O"
}

if [ -n "$CONFIG" ]; then
	[ -f "$top/$CONFIG" ] && CONFIG=$top/$CONFIG
	[ -f "$CONFIG" ] || die "CONFIG=$CONFIG: no such file"
	obj=$O/obj-deb
	prepare_source
	mkdir -p "$obj"
	# A distribution's certificates are not in the source: build without.
	{
		sed -E 's/^(CONFIG_SYSTEM_(TRUSTED|REVOCATION)_KEYS)=.*/\1=""/' "$CONFIG"
		echo CONFIG_STACK_POLICY=y
	} > "$obj/.config"
	make_kernel olddefconfig > "$out/config.log" 2>&1 || die "see $out/config.log"
	grep -qx CONFIG_STACK_POLICY=y "$obj/.config" ||
		die "$CONFIG has an option that CONFIG_STACK_POLICY excludes, see kernel/Kconfig.stack_policy"
else
	prepare_source
	configure
fi
step "build the packages" make_kernel -j"$jobs" bindeb-pkg
step "build the package of stackpolicy" tool_package
ls "$O"/*.deb

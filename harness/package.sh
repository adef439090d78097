# shellcheck shell=bash disable=SC2154
# Sourced: a package of the command line tool, to $O.

# The command line tool: what its install rule installs, stripped and compressed.
tool_package()
{
	local dir=$src/tools/stackpolicy build=$O/tool-deb version
	local root=$build/root
	rm -rf "$build"
	mkdir -p "$root/DEBIAN"
	install -m 755 "$dir"/debian/{postinst,prerm,postrm} "$root/DEBIAN/"
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
		cd "$build" || exit
		dpkg-shlibdeps root/usr/sbin/stackpolicy
		dpkg-gencontrol -Proot
		cd root || exit
		find usr -type f -exec md5sum {} + > DEBIAN/md5sums
	)
	dpkg-deb --build --root-owner-group "$root" "$O"
}

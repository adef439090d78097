#!/bin/bash
# make deb: kernel packages from the harness configuration, or from CONFIG=file; and
# one of the command line tool.
cd "$(dirname "$0")" || exit
. ./lib.sh
. ./package.sh

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

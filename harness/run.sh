#!/bin/bash
# make run: build, boot, and show the tour; with UPDATE=1 the documentation has it afterwards.
cd "$(dirname "$0")" || exit
. ./lib.sh
. ./image.sh
. ./boot.sh

build_kernel
step "build the initramfs" build_image
boot run 300 || die "the guest did not finish, see $out/run.console"
tr -d '\r' < "$out/run.results"
grep -q '^# end of the tour' "$out/run.results" || die "the tour is not complete"
if [ "$UPDATE" = 1 ]; then
	page=../Documentation/admin-guide/stack-policy-tour.rst
	{
		sed '/^::$/q' "$page"
		tr -d '\r' < "$out/run.results" | sed '/^# end of the tour/d; s/^./  &/; s/ *$//'
	} > "$out/tour"
	cat "$out/tour" > "$page"
fi

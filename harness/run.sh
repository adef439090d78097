#!/bin/bash
# make run: build, boot, and show the tour.
cd "$(dirname "$0")" || exit
. ./lib.sh
. ./image.sh
. ./boot.sh

build_kernel
step "build the initramfs" build_image
boot run 300 || die "the guest did not finish, see $out/run.console"
tr -d '\r' < "$out/run.results"
grep -q '^# end of the tour' "$out/run.results" || die "the tour is not complete"

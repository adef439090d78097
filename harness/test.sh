#!/bin/bash
# make test: build, boot, test; the last line is the verdict.
cd "$(dirname "$0")" || exit
. ./lib.sh
. ./image.sh
. ./boot.sh

build_kernel
step "build the initramfs" build_image
rc=0
boot test 600 kunit.enable=1 || rc=$?
boot die 120 || :
exec python3 ./verdict.py "$O" "$rc"

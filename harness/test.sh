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
boot die 120 stack_policy=task=8/24,kthread=16/32 stack_policy=task=99/100 \
	randomize_kstack_offset=off || :
boot full 60 noapic || :
boot panic 60 mode=overflow action=kernel.stack_policy_overflow=panic || :
boot warn 60 mode=overflow action=kernel.panic_on_warn=1 || :
exec python3 ./verdict.py "$O" "$rc"

#!/bin/bash
# make build: the kernel, its modules, the tool and the guest's image.
cd "$(dirname "$0")" || exit
. ./lib.sh
. ./image.sh

build_kernel
step "build the initramfs" build_image

#!/bin/bash
# make shell: build, boot, and give the user a shell.
cd "$(dirname "$0")" || exit
. ./lib.sh
. ./image.sh
. ./boot.sh

build_kernel
step "build the initramfs" build_image
boot shell 0

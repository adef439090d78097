# SPDX-License-Identifier: GPL-2.0
# stack_policy: "make run" and "make test" do everything; "make help" lists more.

O	?= $(CURDIR)/build
DEBUG	?= 0
V	?= 0
CONFIG	?=
MINUTES	?= 10
BENCH	?=
MACHINE	?=
SUITES	?=
REAL	?= 0
TEST	?=
UPDATE	?= 0

override O := $(abspath $(O))
export O DEBUG V CONFIG MINUTES BENCH MACHINE SUITES REAL TEST UPDATE

# New files that are laid over the kernel source, at their kernel paths.
export OVERLAY := Documentation arch include kernel mm samples tools

help:
	@echo 'make run      build the kernel with the stack policy, boot it, show the tour'
	@echo '             (UPDATE=1: into the documentation)'
	@echo 'make test     build, boot and test it (DEBUG=1: with lockdep, kmemleak, ...;'
	@echo '             DEBUG=kcsan: with the data race detector; TEST=NAME: only that test,'
	@echo '             suite or group, say wake.nobody_runs_short)'
	@echo 'make build    build only, for all of the above'
	@echo 'make stress   overflow and trim stacks for MINUTES=10 on four CPUs'
	@echo 'make bench    instructions and memory, beside the stock kernel (BENCH="hot life":'
	@echo '             only those; REAL=1: time, with KVM; UPDATE=1: into the documentation)'
	@echo 'make off      show that with the option off the kernel is the stock kernel'
	@echo 'make configs  compile it without memory cgroups, for one CPU, with PREEMPT_RT, ...'
	@echo 'make series   build every prefix of the patch queue'
	@echo 'make machine  Debian with its own configuration, under systemd: stock and ours'
	@echo '             (MACHINE="suites_stock suites": only those boots; SUITES="futex nfs")'
	@echo 'make shell    the same kernel with an interactive shell'
	@echo 'make check    lint: checkpatch, sparse, shellcheck, overlay and patch queue'
	@echo 'make deb      .deb packages of the kernel (CONFIG=file: from your own .config)'
	@echo 'make clean    remove the build folder'
	@echo 'V=1 shows all output, O=folder puts the build elsewhere'

build run test stress bench off configs series machine shell check deb: packages
	@harness/$@.sh

packages:
	@harness/packages.sh

clean:
	rm -rf -- "$(O)"

.PHONY: help build run test stress bench off configs series machine shell \
	check deb packages clean

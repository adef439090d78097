// SPDX-License-Identifier: GPL-2.0
/* KVM_RUN until the guest halts: the first one of a thread, which makes it a vCPU's. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sys/ioctl.h>

#include "../tiny_guest.h"
#include "bench.h"

#define THREADS	101

static int vcpu;
static struct kvm_run *guest;
static uint64_t first = -1;

/* No thread's yet: KVM would wait for RCU before another one runs it. */
static void new_guest(void)
{
	vcpu = tiny_guest(&guest);
	must(vcpu >= 0, "/dev/kvm");
}

static void run_guest(int ops)
{
	for (int i = 0; i < ops; i++)
		must(!ioctl(vcpu, KVM_RUN, 0) && guest->exit_reason == KVM_EXIT_HLT, "KVM_RUN");
}

static void *run_first(void *arg)
{
	uint64_t start = now(), taken;

	run_guest(1);
	taken = now() - start;
	if (taken < first)
		first = taken;
	return NULL;
}

void kvm(int argc, char **argv)
{
	pthread_t thread;

	for (int i = 0; i < THREADS; i++) {
		new_guest();
		must(!(errno = pthread_create(&thread, NULL, run_first, NULL)), "pthread_create");
		pthread_join(thread, NULL);
	}
	show("kvm_run_first", first);
	new_guest();
	measure("kvm_run", 4, NULL, run_guest);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * What user space can see of the stack policy: sysctls, /proc, classes,
 * memory. "stack_policy_test kvm" and "stack_policy_test idle" print what a
 * vCPU thread and 1,000 idle threads have, for people.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/stddef.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "tiny_guest.h"
#include "util.h"

#define NODE		"/sys/devices/system/node/node"
#define DMA_DEBUG	"/sys/kernel/debug/dma-api/"
/* SYSLOG_ACTION_ of these names. */
#define CONSOLE_OFF	6
#define CONSOLE_ON	7

/* Freed stacks pass RCU and a workqueue: wait until the figure is back. */
static long settled_kb(long target)
{
	wait_until(kernel_stack_kb() <= target);
	return kernel_stack_kb();
}

/* Threads that sleep while others are counted keep what they have. */
static void let_none_go_cold(bool none)
{
	checked(spit(COLD_MS, none ? "0" : DEFAULT_COLD_MS));
}

FIXTURE(table) { };
FIXTURE_SETUP(table)
{
	if (access(TABLE, R_OK))
		SKIP(return, "kernel without CONFIG_STACK_POLICY");
	ASSERT_OK(spit(TABLE, "default"));
	let_none_go_cold(true);
}
FIXTURE_TEARDOWN(table)
{
	let_none_go_cold(false);
	spit(TABLE, "default");
	klogctl(CONSOLE_ON, NULL, 0);
}

TEST_F(table, reads_default)
{
	ASSERT_STREQ(DEFAULT, slurp(TABLE));
}

TEST_F(table, write_one_class)
{
	ASSERT_OK(spit(TABLE, "user-worker=16/24"));
	ASSERT_NE(NULL, strstr(slurp(TABLE), "user-worker=16/24"));
	ASSERT_NE(NULL, strstr(slurp(TABLE), "task=12/32 kthread=12/32"));
	/* Lines are words as well. */
	ASSERT_OK(spit(TABLE, "task=16/32\nkthread=20/32\n"));
	ASSERT_NE(NULL, strstr(slurp(TABLE), "task=16/32 kthread=20/32"));
}

/* Whether sleepers are trimmed is said only where the sizes do not say it. */
TEST_F(table, sleepers)
{
	ASSERT_OK(spit(TABLE, "task=16/16/trim kthread=12/32/keep user-worker=12/32/trim"));
	ASSERT_STREQ("task=16/16/trim kthread=12/32/keep kthread-big=32/32 kvm-vcpu=32/32 "
		     "user-worker=12/32 irq=32/32 task-big=32/32\n", slurp(TABLE));
	/* Without it is as it was before there was a third field. */
	ASSERT_OK(spit(TABLE, "task=16/16 kthread=12/32"));
	ASSERT_NE(NULL, strstr(slurp(TABLE), "task=16/16 kthread=12/32 "));
}

TEST_F(table, profiles)
{
	ASSERT_STREQ("default\n", slurp(PROFILE));
	ASSERT_OK(spit(TABLE, "conservative"));
	ASSERT_STREQ("conservative\n", slurp(PROFILE));
	ASSERT_STREQ("task=16/32 kthread=16/32 kthread-big=32/32 kvm-vcpu=32/32 "
		     "user-worker=16/32 irq=32/32 task-big=32/32\n", slurp(TABLE));
	ASSERT_OK(spit(TABLE, "static"));
	ASSERT_STREQ("static\n", slurp(PROFILE));
	ASSERT_STREQ("task=16/16 kthread=16/16 kthread-big=32/32 kvm-vcpu=16/16 "
		     "user-worker=16/16 irq=32/32 task-big=32/32\n", slurp(TABLE));
	/* A table and then a row, and a row at a time. */
	ASSERT_OK(spit(TABLE, "conservative task=12/32"));
	ASSERT_STREQ("custom\n", slurp(PROFILE));
	ASSERT_OK(spit(TABLE, "kthread=12/32/trim user-worker=12/32"));
	ASSERT_STREQ("default\n", slurp(PROFILE));
	ASSERT_EQ(-EACCES, spit(PROFILE, "static"));
}

TEST_F(table, bad_writes_change_nothing)
{
	static const char * const bad[] = {
		"task", "task=12", "task=0/32", "task=16/12", "task=12/36",
		"task=13/32", "nobody=12/32", "task=16/32 kthread=5/32", " ",
		"task=16/32 kthread", "task=99999999999/32",
		"task=16/32\nkthread=13/32", "task=16/32\nkthread",
		"task=12/32/", "task=12/32/cold", "irq=32/32/trim", "static task=13/32",
	};
	char big[600];

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ASSERT_EQ(-EINVAL, spit(TABLE, bad[i])) TH_LOG("\"%s\"", bad[i]);
		ASSERT_STREQ(DEFAULT, slurp(TABLE));
	}
	/* Nor what is behind a NUL, even a valid start. */
	ASSERT_EQ(-EINVAL, spit_bytes(TABLE, "task=16/32\0kthread=13/32", 25));
	ASSERT_STREQ(DEFAULT, slurp(TABLE));
	/* A valid start of a text that is too long must not be applied. */
	memset(big, ' ', sizeof(big));
	memcpy(big, "task=16/32", 10);
	big[sizeof(big) - 1] = '\0';
	ASSERT_EQ(-EINVAL, spit(TABLE, big));
	ASSERT_STREQ(DEFAULT, slurp(TABLE));
}

TEST_F(table, new_threads_get_the_new_size)
{
	pid_t child;
	int status;

	ASSERT_EQ(12, number(MINE, "mapped_kb"));
	ASSERT_OK(spit(TABLE, "task=20/24"));
	child = must_fork();
	if (!child)
		_exit(number(MINE, "mapped_kb") != 20 ||
		      number(MINE, "populate_kb") != 20 ||
		      number(MINE, "limit_kb") != 24);
	ASSERT_OK(waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	/* The one that was there before has what it had. */
	ASSERT_EQ(12, number(MINE, "mapped_kb"));
}

static int become_nobody(void)
{
	return checked(setresgid(65534, 65534, 65534)) ?:
	       checked(setresuid(65534, 65534, 65534));
}

TEST_F(table, unprivileged)
{
	pid_t child = must_fork();
	int status;

	if (!child) {
		if (become_nobody())
			_exit(1);
		if (strcmp(slurp(TABLE), DEFAULT))
			_exit(2);
		if (spit(TABLE, "task=16/32") != -EACCES)
			_exit(3);
		if (spit(ACTION, "panic") != -EACCES)
			_exit(4);
		errno = 0;
		if (*slurp("/proc/1/stack_policy") || errno != EACCES)
			_exit(5);
		/* Own file: as for any S_IRUSR file of a task that may be dumped. */
		checked(execl("/proc/self/exe", "stack_policy_test", "own", NULL));
		_exit(6);
	}
	ASSERT_OK(waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_STREQ(DEFAULT, slurp(TABLE));
}

TEST_F(table, overflow_action)
{
	ASSERT_STREQ("survive\n", slurp(ACTION));
	ASSERT_EQ(-EINVAL, spit(ACTION, "ignore"));
	ASSERT_EQ(-EINVAL, spit(ACTION, "a word that is far too long"));
	ASSERT_EQ(-EINVAL, spit(ACTION, "panic\nnonsense"));
	ASSERT_EQ(-EINVAL, spit_bytes(ACTION, "panic\0x", 7));
	ASSERT_EQ(-EINVAL, spit(ACTION, ""));
	ASSERT_STREQ("survive\n", slurp(ACTION));
	ASSERT_OK(spit(ACTION, "panic\n"));
	ASSERT_STREQ("panic\n", slurp(ACTION));
	ASSERT_OK(spit(ACTION, "survive"));
}

TEST_F(table, own_thread)
{
	ASSERT_NE(NULL, strstr(slurp(MINE), "class: task\n"));
	ASSERT_EQ(32, number(MINE, "limit_kb"));
	ASSERT_GT(number(MINE, "high_water_bytes"), 500);
	ASSERT_LE(number(MINE, "high_water_bytes"), 12 * 1024);
	ASSERT_EQ(0, number(MINE, "grows_fault"));
}

/* To the byte for administrators only. */
TEST_F(table, own_thread_as_a_user)
{
	int status;
	pid_t child = must_fork();

	if (!child) {
		long used;

		/* The files are root's without that, as the IDs have changed. */
		if (become_nobody() || checked(prctl(PR_SET_DUMPABLE, 1)))
			_exit(1);
		used = number(MINE, "high_water_bytes");
		_exit(used <= 0 ? 2 : used % 1024 ? 3 : 0);
	}
	ASSERT_OK(waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
}

TEST_F(table, thousand_threads_cost_12_kb_each)
{
	static pthread_t threads[1000];
	long before = kernel_stack_kb(), with;
	int ends[2];

	ASSERT_OK(start_sleepers(threads, 1000, ends));
	with = kernel_stack_kb();
	stop_sleepers(threads, 1000, ends);
	/* Per-CPU deltas of the counter are folded in late. */
	ASSERT_LE(with - before, 12 * 1000 + 1024);
	ASSERT_GE(with - before, 12 * 1000 - 1024);
	ASSERT_LE(settled_kb(before + 1024), before + 1024);
}

/* Stacks in the vmalloc area: those of threads, and the few that are cached. */
static int stack_areas(void)
{
	FILE *f = fopen("/proc/vmallocinfo", "r");
	char line[256];
	int n = 0;

	while (f && fgets(line, sizeof(line), f))
		n += !!strstr(line, " kstack_");
	if (f)
		fclose(f);
	return n;
}

/* Free memory with that on the allocator's per-CPU lists, tens of MB at times. */
static long free_kb(void)
{
	long kb = number("/proc/meminfo", "MemFree");
	const char *at = slurp("/proc/zoneinfo");

	while ((at = strstr(at, " count: ")))
		kb += atol(at += 8) * 4;
	return kb;
}

#define AT_ONCE		100
#define CHILD_STACK	4096

static int end_at_once(void *unused)
{
	return 0;
}

/*
 * Processes that come and go, with their parent's memory: copies of it would take most
 * of the time, and it is their kernel stacks that matter. 0, or -1 if a call failed.
 */
static int fork_many(int nr)
{
	static _Alignas(16) char stacks[AT_ONCE][CHILD_STACK];

	for (int i = 0; i < nr; i++) {
		char *top = stacks[i % AT_ONCE] + CHILD_STACK;

		if (checked(clone(end_at_once, top, CLONE_VM | SIGCHLD, NULL)) < 0)
			return -1;
		if (i % AT_ONCE == AT_ONCE - 1)
			while (wait(NULL) > 0)
				;
	}
	return 0;
}

/* Free memory, when for half a second no more has come back. */
static long settled_free_kb(void)
{
	long kb = free_kb(), last;

	do {
		last = kb;
		usleep(500 * 1000);
		kb = free_kb();
	} while (kb > last + 256);
	return kb;
}

TEST_F(table, ten_thousand_forks_leave_nothing)
{
	long kb = kernel_stack_kb(), before, after;
	int areas = stack_areas(), areas_after;

	/* The first fill slabs and page tables. */
	ASSERT_OK(fork_many(1000));
	ASSERT_LE(settled_kb(kb + 1024), kb + 1024);
	before = settled_free_kb();
	ASSERT_OK(fork_many(10000));
	/* A page lost in each would be 40,000 kB. Freeing passes RCU and a worker. */
	wait_until((after = free_kb()) >= before - 4096);
	ASSERT_LE(before - 4096, after);
	ASSERT_LE(settled_kb(kb + 1024), kb + 1024);
	/* Two stacks a CPU are cached; and workers come and go. */
	ASSERT_LT(0, areas);
	wait_until((areas_after = stack_areas()) <= areas + 32);
	ASSERT_LE(areas_after, areas + 32);
}

/*
 * For fail_nth(): the calling thread's fail-nth file, open because opening it
 * allocates. -1 if the kernel cannot make allocations fail.
 */
static int allow_failures(void)
{
	spit("/sys/kernel/debug/failslab/ignore-gfp-wait", "N");
	spit("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N");
	spit("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	spit("/sys/kernel/debug/failslab/verbose", "0");
	spit("/sys/kernel/debug/fail_page_alloc/verbose", "0");
	return open("/proc/thread-self/fail-nth", O_RDWR);
}

/* In the kernel log, by whomever. */
static int complaints(void)
{
	return logged("WARNING:") + logged("BUG:");
}

/*
 * The nth allocation that the calling thread makes from now on fails; 0 for
 * none. Return: what was left of the number before, 0 if it has failed.
 *
 * Meanwhile the console is silent: if it is kmemleak's own allocation that fails, that says so
 * with a lock held that may not be held around a console. Who uses this looks for complaints().
 */
static int fail_nth(int fd, int nth)
{
	char text[16] = "";

	if (nth)
		checked(klogctl(CONSOLE_OFF, NULL, 0));
	if (checked(pread(fd, text, sizeof(text) - 1, 0)) <= 0 ||
	    checked(dprintf(fd, "%d", nth)) <= 0)
		return -1;
	if (!nth)
		checked(klogctl(CONSOLE_ON, NULL, 0));
	return atoi(text);
}

TEST_F(table, fork_survives_each_failed_allocation)
{
	int nth, left, failed = 0, fd = allow_failures(), before = complaints();
	long kb = kernel_stack_kb();

	if (fd < 0)
		SKIP(return, "kernel without CONFIG_FAULT_INJECTION");
	/* Each run fails one allocation later, until none was left to fail. */
	for (nth = 1; nth < 1000; nth++) {
		pid_t child;

		ASSERT_EQ(0, fail_nth(fd, nth));
		child = syscall(SYS_fork);
		if (!child)
			_exit(0);
		left = fail_nth(fd, 0);
		if (child > 0) {
			waitpid(child, NULL, 0);
		} else {
			ASSERT_EQ(ENOMEM, errno) TH_LOG("nth=%d", nth);
			failed++;
		}
		if (left)
			break;
		/* The next stack has a size that no cached one has. */
		spit(TABLE, nth & 1 ? "task=16/32" : "task=24/32");
	}
	ASSERT_LT(nth, 1000);
	ASSERT_GT(failed, 4);
	ASSERT_LE(complaints(), before);
	ASSERT_LE(settled_kb(kb + 1024), kb + 1024);
}

struct vcpu_thread {
	int vcpu, ret;
	long before_kb, after_kb, pages;
	int was_task, is_vcpu;
};

static void *run_vcpu(void *data)
{
	struct vcpu_thread *t = data;

	/* With pages that it has given back, and may get back, if the module is there. */
	spit(MODULE "deep", "20000");
	t->was_task = !!strstr(slurp(MINE), "class: task\n");
	t->before_kb = number(MINE, "mapped_kb");
	t->ret = checked(ioctl(t->vcpu, KVM_RUN, 0));
	t->is_vcpu = !!strstr(slurp(MINE), "class: kvm-vcpu\n");
	t->after_kb = number(MINE, "mapped_kb");
	t->pages = pages_of(syscall(SYS_gettid));
	return NULL;
}

TEST_F(table, kvm_run_promotes_thread_a_then_b)
{
	struct kvm_run *run;
	int vcpu = tiny_guest(&run);

	if (vcpu < 0)
		SKIP(return, "no KVM here");
	for (int i = 0; i < 2; i++) {
		struct vcpu_thread t = { .vcpu = vcpu };
		pthread_t thread;

		ASSERT_OK(-pthread_create(&thread, NULL, run_vcpu, &t));
		pthread_join(thread, NULL);
		ASSERT_EQ(0, t.ret);
		ASSERT_EQ(KVM_EXIT_HLT, run->exit_reason);
		ASSERT_EQ(1, t.was_task);
		ASSERT_EQ(12, t.before_kb);
		ASSERT_EQ(1, t.is_vcpu);
		ASSERT_EQ(32, t.after_kb);
		/* The page tables agree, if the test module is there to look. */
		ASSERT_TRUE(t.pages == 8 || t.pages == -ENOENT);
	}
}

/* KVM_RUN without memory for the stack: -ENOMEM, and the thread stays what it was. */
static void *run_vcpu_short(void *data)
{
	struct vcpu_thread *t = data;
	int nth, fd = allow_failures();

	t->was_task = 1;
	for (nth = 1; nth <= 5; nth++) {
		fail_nth(fd, nth);
		t->ret = ioctl(t->vcpu, KVM_RUN, 0);
		if (!t->ret || errno != ENOMEM)
			t->was_task = 0;
		fail_nth(fd, 0);
		t->was_task &= !!strstr(slurp(MINE), "class: task\n");
		t->was_task &= number(MINE, "mapped_kb") == 12;
	}
	t->ret = checked(ioctl(t->vcpu, KVM_RUN, 0));
	t->is_vcpu = !!strstr(slurp(MINE), "class: kvm-vcpu\n");
	t->after_kb = number(MINE, "mapped_kb");
	return NULL;
}

TEST_F(table, kvm_run_without_memory_fails_cleanly)
{
	struct kvm_run *run;
	struct vcpu_thread t = { .vcpu = tiny_guest(&run) };
	int before = complaints();
	pthread_t thread;

	if (t.vcpu < 0 || allow_failures() < 0)
		SKIP(return, "no KVM here, or no CONFIG_FAULT_INJECTION");
	ASSERT_OK(-pthread_create(&thread, NULL, run_vcpu_short, &t));
	pthread_join(thread, NULL);
	ASSERT_EQ(1, t.was_task);
	ASSERT_EQ(0, t.ret);
	ASSERT_EQ(1, t.is_vcpu);
	ASSERT_EQ(32, t.after_kb);
	ASSERT_LE(complaints(), before);
}

FIXTURE(maps)
{
	int policy, stats;
	struct bpf_map_info policy_info, stats_info;
};
FIXTURE_SETUP(maps)
{
	self->policy = map_by_name("stack_policy", &self->policy_info);
	if (self->policy < 0 && errno != ENOENT)
		SKIP(return, "kernel without CONFIG_BPF_SYSCALL");
	ASSERT_OK(self->policy);
	ASSERT_OK(self->stats = map_by_name("stack_stats", &self->stats_info));
	ASSERT_OK(spit(TABLE, "default"));
	let_none_go_cold(true);
}
FIXTURE_TEARDOWN(maps)
{
	let_none_go_cold(false);
	spit(TABLE, "default");
	close(self->policy);
	close(self->stats);
}

TEST_F(maps, describe_themselves)
{
	ASSERT_EQ(BPF_MAP_TYPE_ARRAY, self->policy_info.type);
	ASSERT_EQ(4, self->policy_info.key_size);
	ASSERT_EQ(sizeof(struct entry), self->policy_info.value_size);
	ASSERT_EQ(NR_CLASSES, self->policy_info.max_entries);
	ASSERT_EQ(sizeof(struct stats), self->stats_info.value_size);
	ASSERT_EQ(NR_CLASSES, self->stats_info.max_entries);
	/* Names for bpftool. */
	ASSERT_NE(0, self->policy_info.btf_key_type_id);
	ASSERT_NE(0, self->policy_info.btf_value_type_id);
	ASSERT_NE(0, self->stats_info.btf_value_type_id);
}

TEST_F(maps, sysctl_and_map_are_one_table)
{
	struct entry row, new = { 20, 28 };

	ASSERT_OK(map_op(BPF_MAP_LOOKUP_ELEM, self->policy, TASK, &row, 0));
	ASSERT_EQ(12, row.populate_kb);
	ASSERT_EQ(32, row.limit_kb);
	ASSERT_OK(spit(TABLE, "task=16/24"));
	ASSERT_OK(map_op(BPF_MAP_LOOKUP_ELEM, self->policy, TASK, &row, 0));
	ASSERT_EQ(16, row.populate_kb);
	ASSERT_EQ(24, row.limit_kb);
	ASSERT_OK(map_op(BPF_MAP_UPDATE_ELEM, self->policy, KTHREAD, &new, BPF_ANY));
	ASSERT_OK(map_op(BPF_MAP_UPDATE_ELEM, self->policy, USER_WORKER, &new, BPF_EXIST));
	ASSERT_NE(NULL, strstr(slurp(TABLE), "task=16/24 kthread=20/28 kthread-big=32/32 "));
	ASSERT_NE(NULL, strstr(slurp(TABLE), " user-worker=20/28 irq=32/32 task-big=32/32\n"));
}

/* Of a program that knows it, and of one that does not and writes back what it read. */
TEST_F(maps, sleepers)
{
	struct { unsigned int populate_kb; unsigned short limit_kb, sleepers; } row;
	struct entry old;

	ASSERT_OK(spit(TABLE, "task=16/16/trim"));
	ASSERT_OK(map_op(BPF_MAP_LOOKUP_ELEM, self->policy, TASK, &row, 0));
	ASSERT_EQ(16, row.populate_kb);
	ASSERT_EQ(16, row.limit_kb);
	ASSERT_EQ(1, row.sleepers);
	ASSERT_OK(map_op(BPF_MAP_LOOKUP_ELEM, self->policy, TASK, &old, 0));
	ASSERT_OK(map_op(BPF_MAP_UPDATE_ELEM, self->policy, KTHREAD, &old, 0));
	ASSERT_NE(NULL, strstr(slurp(TABLE), "task=16/16/trim kthread=16/16/trim "));
	row.sleepers = 2;
	ASSERT_OK(map_op(BPF_MAP_UPDATE_ELEM, self->policy, TASK, &row, 0));
	ASSERT_NE(NULL, strstr(slurp(TABLE), "task=16/16 "));
	row.sleepers = 3;
	ASSERT_EQ(-EINVAL, map_op(BPF_MAP_UPDATE_ELEM, self->policy, TASK, &row, 0));
}

TEST_F(maps, bad_updates_change_nothing)
{
	struct entry bad[] = { { 0, 32 }, { 16, 12 }, { 12, 36 }, { 13, 32 }, { -4, 32 },
			       { -4, -4 }, { 12, 0 } };
	struct entry good = { 16, 32 }, irq;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ASSERT_EQ(-EINVAL, map_op(BPF_MAP_UPDATE_ELEM, self->policy, TASK, &bad[i], 0));
	/* Which are good for others. */
	ASSERT_EQ(-EINVAL, map_op(BPF_MAP_UPDATE_ELEM, self->policy, KVM_VCPU, &good, 0));
	ASSERT_EQ(-EINVAL, map_op(BPF_MAP_UPDATE_ELEM, self->policy, IRQ, &good, 0));
	ASSERT_OK(map_op(BPF_MAP_LOOKUP_ELEM, self->policy, IRQ, &irq, 0));
	ASSERT_OK(map_op(BPF_MAP_UPDATE_ELEM, self->policy, IRQ, &irq, 0));
	ASSERT_EQ(-E2BIG, map_op(BPF_MAP_UPDATE_ELEM, self->policy, NR_CLASSES, &good, 0));
	ASSERT_EQ(-EEXIST, map_op(BPF_MAP_UPDATE_ELEM, self->policy, TASK, &good, BPF_NOEXIST));
	ASSERT_EQ(-EINVAL, map_op(BPF_MAP_UPDATE_ELEM, self->policy, TASK, &good, 99));
	ASSERT_EQ(-EINVAL, map_op(BPF_MAP_DELETE_ELEM, self->policy, TASK, NULL, 0));
	ASSERT_EQ(-ENOENT, map_op(BPF_MAP_LOOKUP_ELEM, self->policy, NR_CLASSES, &good, 0));
	ASSERT_STREQ(DEFAULT, slurp(TABLE));
}

/* An inner map is used by the operations of its template, which are an array's. */
TEST_F(maps, cannot_be_an_inner_map)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4,
				.value_size = sizeof(struct entry),
				.max_entries = NR_CLASSES, .map_flags = BPF_F_RDONLY_PROG };
	int template = checked(bpf(BPF_MAP_CREATE, &attr)), outer;
	union bpf_attr outer_attr = { .map_type = BPF_MAP_TYPE_ARRAY_OF_MAPS, .key_size = 4,
				      .value_size = 4, .max_entries = 1,
				      .inner_map_fd = template };

	ASSERT_LE(0, template);
	ASSERT_OK(outer = bpf(BPF_MAP_CREATE, &outer_attr));
	ASSERT_OK(map_op(BPF_MAP_UPDATE_ELEM, outer, 0, &template, 0));
	ASSERT_EQ(-EINVAL, map_op(BPF_MAP_UPDATE_ELEM, outer, 0, &self->policy, 0));
	outer_attr.inner_map_fd = self->policy;
	ASSERT_EQ(-1, bpf(BPF_MAP_CREATE, &outer_attr));
	close(outer);
	close(template);
}

TEST_F(maps, every_key_in_order)
{
	unsigned int key = 99, next, n = 0;
	union bpf_attr attr = { .map_fd = self->policy, .next_key = (unsigned long)&next };

	while (!bpf(BPF_MAP_GET_NEXT_KEY, &attr)) {
		ASSERT_EQ(n++, next);
		key = next;
		attr.key = (unsigned long)&key;
	}
	ASSERT_EQ(ENOENT, errno);
	ASSERT_EQ(NR_CLASSES, n);
}

TEST_F(maps, stats_are_read_only)
{
	struct stats s = {};

	ASSERT_EQ(-EPERM, map_op(BPF_MAP_UPDATE_ELEM, self->stats, TASK, &s, 0));
	ASSERT_EQ(-EPERM, map_op(BPF_MAP_DELETE_ELEM, self->stats, TASK, NULL, 0));
	ASSERT_OK(map_op(BPF_MAP_LOOKUP_ELEM, self->stats, TASK, &s, 0));
	ASSERT_LT(0, s.threads);
	ASSERT_LE(4 * s.threads, s.mapped_kb);
	ASSERT_GE(32 * s.threads, s.mapped_kb);
}

/* Look the element up and store into it: the verifier must refuse. */
TEST_F(maps, programs_cannot_write_the_table)
{
	struct bpf_insn insns[] = {
		{ .code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = 10, .off = -4 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 2, .src_reg = 10 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 2, .imm = -4 },
		{ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1,
		  .src_reg = BPF_PSEUDO_MAP_FD, .imm = self->policy },
		{},
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_lookup_elem },
		{ .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = 0, .off = 1 },
		/* [7]: read first, then write. */
		{ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 1, .src_reg = 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.insns = (unsigned long)insns,
		.insn_cnt = sizeof(insns) / sizeof(*insns),
		.license = (unsigned long)"GPL",
	};
	int fd = checked(bpf(BPF_PROG_LOAD, &attr));

	ASSERT_LE(0, fd);
	close(fd);
	insns[7] = (struct bpf_insn){ .code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = 0,
				      .imm = 64 };
	ASSERT_EQ(-1, bpf(BPF_PROG_LOAD, &attr));
	ASSERT_EQ(EACCES, errno);
}

TEST_F(maps, stats_count_threads)
{
	static pthread_t threads[500];
	struct stats before, with, after;
	unsigned long long exits = 0;
	int ends[2];

	ASSERT_OK(map_op(BPF_MAP_LOOKUP_ELEM, self->stats, TASK, &before, 0));
	ASSERT_OK(start_sleepers(threads, 500, ends));
	ASSERT_OK(map_op(BPF_MAP_LOOKUP_ELEM, self->stats, TASK, &with, 0));
	stop_sleepers(threads, 500, ends);
	/* A few of those before may have been on their way out. */
	ASSERT_LE(before.threads + 490, with.threads);
	ASSERT_LE(before.mapped_kb + 490 * 12, with.mapped_kb);
	wait_until((after = class_stats(TASK)).threads <= before.threads);
	ASSERT_LE(after.threads, before.threads);
	ASSERT_LE(after.mapped_kb, before.mapped_kb);
	/* Each of the 500 is in the histogram, and none used over 12 kB. */
	for (int i = 0; i < 12; i++)
		exits += after.exit_depth_kb[i] - before.exit_depth_kb[i];
	ASSERT_LE(500, exits);
}

TEST_F(maps, unprivileged_cannot_open)
{
	pid_t child = must_fork();
	int status;

	if (!child) {
		struct bpf_map_info info;

		if (become_nobody())
			_exit(1);
		_exit(map_by_name("stack_policy", &info) >= 0 || errno != EPERM);
	}
	ASSERT_OK(waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
}

TEST_F(maps, bpftool_prints_names)
{
	static char text[1 << 14] = "";
	FILE *p;

	if (access("/bin/bpftool", X_OK))
		SKIP(return, "no bpftool");
	p = popen("bpftool map list; bpftool map dump name stack_policy;"
		  "bpftool map dump name stack_stats", "r");
	ASSERT_NE(NULL, p) TH_LOG("popen: %s", strerror(errno));
	ASSERT_LT(0, fread(text, 1, sizeof(text) - 1, p));
	ASSERT_EQ(0, pclose(p));
	ASSERT_NE(NULL, strstr(text, "name stack_policy"));
	ASSERT_NE(NULL, strstr(text, "name stack_stats"));
	ASSERT_NE(NULL, strstr(text, "\"key\": \"STACK_CLASS_TASK\""));
	ASSERT_NE(NULL, strstr(text, "\"populate_kb\": 12"));
	ASSERT_NE(NULL, strstr(text, "\"threads\": "));
}

/* A machine with two nodes, CPU 0 on node 0, and a kernel that watches its drivers. */
FIXTURE(machine) { };
FIXTURE_SETUP(machine)
{
	cpu_set_t first;

	if (access(NODE "1", F_OK) || access(DMA_DEBUG, F_OK) || access(MODULE "dma", W_OK))
		SKIP(return, "no second node, or no CONFIG_DMA_API_DEBUG");
	ASSERT_OK(spit(TABLE, "task=16/32"));
	let_none_go_cold(true);
	CPU_ZERO(&first);
	CPU_SET(0, &first);
	ASSERT_OK(sched_setaffinity(0, sizeof(first), &first));
}
FIXTURE_TEARDOWN(machine)
{
	let_none_go_cold(false);
	spit(TABLE, "default");
	spit(DMA_DEBUG "num_errors", "1");
}

static long stacks_of_node(int node)
{
	char path[64];

	snprintf(path, sizeof(path), NODE "%d/meminfo", node);
	return number(path, "KernelStack");
}

/* kB that 200 threads of 16 kB add to the stacks of node 1, under a memory policy. */
static long on_node_1(int policy, unsigned long nodes)
{
	static pthread_t threads[200];
	int ends[2];
	long before, kb;

	if (checked(syscall(SYS_set_mempolicy, policy, nodes ? &nodes : NULL, 8 * sizeof(nodes))))
		return -1;
	before = stacks_of_node(1);
	if (start_sleepers(threads, 200, ends))
		return -1;
	kb = stacks_of_node(1) - before;
	stop_sleepers(threads, 200, ends);
	/* A thread that was joined has its stack yet. A few stay in the CPU's cache. */
	if (!wait_until(stacks_of_node(1) <= before + 10 * 16))
		return -1;
	return kb;
}

/* As a stock kernel's. A few come from the CPU's cache. */
TEST_F(machine, stacks_follow_the_memory_policy)
{
	long kb = on_node_1(MPOL_BIND, 2);

	EXPECT_LE(190 * 16, kb);
	kb = on_node_1(MPOL_INTERLEAVE, 3);
	EXPECT_LE(90 * 16, kb);
	EXPECT_GE(110 * 16, kb);
	kb = on_node_1(MPOL_DEFAULT, 0);
	EXPECT_GE(10 * 16, kb);
}

static int wakes[2], woken;

static void *sleeps_twice(void *pipe_end)
{
	char byte;

	checked(read(wakes[0], &byte, 1));
	__atomic_add_fetch(&woken, 1, __ATOMIC_RELAXED);
	return sleeper(pipe_end);
}

/* What they get back is where they ran, whoever wakes them. */
TEST_F(machine, woken_stacks_are_on_the_node_of_their_cpu)
{
	static pthread_t threads[200];
	pthread_attr_t attr;
	cpu_set_t second;
	int ends[2];
	long kb;

	ASSERT_OK(pipe(wakes));
	ASSERT_OK(pipe(ends));
	CPU_ZERO(&second);
	CPU_SET(1, &second);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * 1024);
	pthread_attr_setaffinity_np(&attr, sizeof(second), &second);
	kb = -stacks_of_node(1);
	for (int i = 0; i < 200; i++)
		ASSERT_OK(-pthread_create(&threads[i], &attr, sleeps_twice, (void *)(long)ends[0]));
	ASSERT_TRUE(wait_until(!checked(spit(TRIM, "1")) && number(POOL, "owed") >= 200 * 3));
	for (int i = 0; i < 200; i++)
		ASSERT_EQ(1, checked(write(wakes[1], "x", 1)));
	/* Whose stacks are complete then. */
	ASSERT_TRUE(wait_until(__atomic_load_n(&woken, __ATOMIC_RELAXED) == 200));
	kb += stacks_of_node(1);
	close(ends[1]);
	for (int i = 0; i < 200; i++)
		pthread_join(threads[i], NULL);
	/* Three of four pages; the first is where it was created, on node 0. */
	EXPECT_LE(180 * 12, kb);
	EXPECT_GE(220 * 12, kb);
}

TEST_F(machine, big_stacks_are_on_their_node)
{
	ASSERT_OK(spit(MODULE "big_on_node", "1"));
	/* And not those of the threads before, which have been cached. */
	ASSERT_OK(spit(MODULE "big_on_node", "0"));
	ASSERT_EQ(-EINVAL, spit(MODULE "big_on_node", "2"));
}

#define V1		"/tmp/stack_policy_v1"
#define V1_GROUP	V1 "/group"

/* What version 1 of cgroups says of threads that sleep, by the tool for that. */
static int asleep_in_group(void)
{
	FILE *said = popen("getdelays -C " V1_GROUP, "r");
	int n = -1;

	if (said) {
		fscanf(said, "sleeping %d", &n);
		pclose(said);
	}
	return n;
}

TEST_F(machine, cold_threads_are_counted_as_asleep)
{
	static pthread_t threads[200];
	int ends[2];
	pid_t child;

	ASSERT_OK(mkdir(V1, 0755));
	ASSERT_OK(mount("none", V1, "cgroup", 0, "none,name=stack_policy"));
	ASSERT_OK(mkdir(V1_GROUP, 0755));
	child = must_fork();
	if (!child) {
		checked(spit(V1_GROUP "/cgroup.procs", "0"));
		checked(start_sleepers(threads, 200, ends));
		for (;;)
			pause();
	}
	EXPECT_TRUE(wait_until(asleep_in_group() == 201));
	EXPECT_TRUE(wait_until(!checked(spit(TRIM, "1")) && number(POOL, "owed") >= 200 * 3));
	EXPECT_TRUE(trim_child(child));
	EXPECT_EQ(201, asleep_in_group());
	reap(child);
	EXPECT_OK(remove_group(V1_GROUP));
	EXPECT_OK(umount(V1));
	EXPECT_OK(rmdir(V1));
}

TEST_F(machine, drivers_that_map_their_stack_are_found)
{
	long before = atol(slurp(DMA_DEBUG "error_count"));

	/* Counted only. */
	ASSERT_OK(spit(DMA_DEBUG "num_errors", "0"));
	ASSERT_OK(spit(MODULE "dma", "1"));
	ASSERT_EQ(before + 1, atol(slurp(DMA_DEBUG "error_count")));
}

FIXTURE(stack) { };
FIXTURE_SETUP(stack)
{
	if (access(MODULE "recurse", W_OK))
		SKIP(return, "stack_policy_testmod.ko is not loaded");
	/* In case a test before has left it on. */
	while (spit("/sys/kernel/debug/fail_page_alloc/probability", "0") == -ENOMEM)
		;
	ASSERT_OK(spit(TABLE, "default"));
	let_none_go_cold(true);
}
FIXTURE_TEARDOWN(stack)
{
	let_none_go_cold(false);
	spit(TABLE, "default");
	klogctl(CONSOLE_ON, NULL, 0);
}

TEST_F(stack, ensure_grows_the_callers_stack)
{
	ASSERT_EQ(3, pages_of(syscall(SYS_gettid)));
	ASSERT_OK(spit(MODULE "ensure", "1000"));
	ASSERT_EQ(0, number(MINE, "grows_ensure"));
	ASSERT_OK(spit(MODULE "ensure", "16000"));
	ASSERT_EQ(1, number(MINE, "grows_ensure"));
	ASSERT_LE(16, atol(slurp(MODULE "ensure")));
	ASSERT_EQ(0, number(MINE, "grows_fault"));
	ASSERT_EQ(-EOVERFLOW, spit(MODULE "ensure", "32768"));
	ASSERT_EQ(-EOVERFLOW, spit(MODULE "ensure", "99999999999"));
	/* Past the other end of the address space. */
	ASSERT_EQ(-EOVERFLOW, spit(MODULE "ensure", "0xffffffffffffff00"));
}

TEST_F(stack, ensure_stops_at_the_class_limit)
{
	pid_t child;
	int status;

	ASSERT_OK(spit(TABLE, "task=8/16"));
	child = must_fork();
	if (!child)
		_exit(spit(MODULE "ensure", "20000") != -EOVERFLOW ||
		      atol(slurp(MODULE "ensure")) != 8 || number(MINE, "grows_ensure") ||
		      checked(spit(MODULE "ensure", "12000")) ||
		      atol(slurp(MODULE "ensure")) != 16);
	ASSERT_OK(waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
}

static long shallow_exits(void)
{
	return number("/proc/vmstat", "kstack_8k") + number("/proc/vmstat", "kstack_4k") +
	       number("/proc/vmstat", "kstack_2k");
}

/* Counts from the limit, and does not take what is beyond it for used. */
TEST_F(stack, exit_counts_what_was_used)
{
	long deep = number("/proc/vmstat", "kstack_32k"), shallow = shallow_exits();
	pid_t child;
	int status;

	if (deep < 0)
		return;		/* kernel without CONFIG_DEBUG_STACK_USAGE */
	ASSERT_OK(spit(TABLE, "task=8/12"));
	child = must_fork();
	if (!child)
		_exit(0);
	ASSERT_OK(waitpid(child, &status, 0));
	/* It counts when who waits for it has been told. */
	ASSERT_TRUE(wait_until(shallow_exits() > shallow));
	ASSERT_EQ(deep, number("/proc/vmstat", "kstack_32k"));
}

/* Nobody asked for it: down to half a page above the end of the span. */
TEST_F(stack, overflow_survives_with_contents_intact)
{
	expect_overflow("expected", "test-overflow");
	for (int i = 0; i < 3; i++) {
		ASSERT_OK(spit_number(MODULE "recurse", 32768 - 2048));
		ASSERT_EQ(32, atol(slurp(MODULE "recurse")));
	}
	/* Once more after each time that it was trimmed. */
	ASSERT_EQ(0, number(MINE, "grows_fault") % 5);
	/* The first page of the five is one that a stock kernel has. */
	ASSERT_EQ(number(MINE, "grows_fault") / 5 * 4, number(MINE, "grows_fault_deep"));
	ASSERT_LE(5, number(MINE, "grows_fault"));
	ASSERT_LE(32768 - 2048, number(MINE, "high_water_bytes"));
}

/*
 * What a thread may need an interrupt may need, on a stack that has no net. A stock
 * kernel dies of this with a guard page message.
 */
TEST_F(stack, interrupts_have_as_much_as_threads)
{
	ASSERT_OK(spit(MODULE "interrupt", "12000"));
	ASSERT_OK(spit(MODULE "interrupt", "28000"));
	ASSERT_LE(sysconf(_SC_NPROCESSORS_CONF), class_stats(IRQ).threads);
	ASSERT_EQ(32 * class_stats(IRQ).threads, class_stats(IRQ).mapped_kb);
	/* Of the CPU that it was on, when the walk has looked at that. */
	ASSERT_TRUE(wait_until(class_stats(IRQ).high_water_kb[27] +
			       class_stats(IRQ).high_water_kb[28] > 0));
}

/* What was asked for does not overflow: the harness fails on a report. */
TEST_F(stack, ensured_depth_does_not_fault)
{
	ASSERT_OK(spit_number(MODULE "deep", 27000));
	ASSERT_EQ(0, number(MINE, "grows_fault"));
	/* To the word: the last frame, and an interrupt there, are less than 1,000 bytes. */
	ASSERT_LE(27000, number(MINE, "high_water_bytes"));
	ASSERT_GE(28000, number(MINE, "high_water_bytes"));
}

static void *use_much(void *arg)
{
	checked(spit_number(MODULE "recurse", 11000));
	return NULL;
}

static void *own_high_water(void *most)
{
	long used = number(MINE, "high_water_bytes");

	if (used > *(long *)most)
		*(long *)most = used;
	return NULL;
}

/* The next thread has the stack of the last one, of which only what it used was cleared. */
TEST_F(stack, who_gets_a_cached_stack_sees_nothing_of_the_last_thread)
{
	long most = 0;
	pthread_t thread;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	ASSERT_OK(sched_setaffinity(0, sizeof(set), &set));
	for (int i = 0; i < 20; i++) {
		ASSERT_OK(-pthread_create(&thread, NULL, use_much, NULL));
		pthread_join(thread, NULL);
		usleep(10 * 1000);
		ASSERT_OK(-pthread_create(&thread, NULL, own_high_water, &most));
		pthread_join(thread, NULL);
	}
	ASSERT_LT(500, most);
	ASSERT_GT(8000, most);
}

/* A read below the mapped part, with a fixup, is an error and not a growth. */
TEST_F(stack, read_with_fixup_does_not_grow)
{
	ASSERT_OK(spit(MODULE "peek", "32760"));
	ASSERT_EQ(-EFAULT, spit(MODULE "peek", "0"));
	ASSERT_EQ(-EFAULT, spit(MODULE "peek", "20000"));
	ASSERT_EQ(12, number(MINE, "mapped_kb"));
	ASSERT_EQ(0, number(MINE, "grows_fault"));
}

/*
 * The first access to a page of user space, with SP so close to the edge that
 * the CPU's frame, the entry code's pushes or the handler's frames overflow:
 * in each case the access succeeds.
 */
TEST_F(stack, user_access_at_the_edge)
{
	int grown = 0;

	expect_overflow("allowed", "test-edge");
	for (long offset = 0; offset < 1024; offset += 8) {
		pid_t child = must_fork();
		int status;

		if (!child) {
			char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			if (checked(spit_number(MODULE "edge", (long)page + offset)))
				_exit(1);
			_exit(number(MINE, "grows_fault") ? 2 : 0);
		}
		ASSERT_OK(waitpid(child, &status, 0));
		ASSERT_NE(1, WEXITSTATUS(status)) TH_LOG("SP %ld bytes above", offset);
		ASSERT_EQ(1, WIFEXITED(status));
		grown += WEXITSTATUS(status) == 2;
	}
	ASSERT_LT(60, grown);
}

/* The number of threads of this process in @class whose page tables say @kb. */
static int threads_of_class(const char *class, long kb)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	int n = 0;

	while (dir && (entry = readdir(dir))) {
		char path[300], line[64];

		snprintf(path, sizeof(path), "/proc/self/task/%s/stack_policy", entry->d_name);
		snprintf(line, sizeof(line), "class: %s\n", class);
		if (strstr(slurp(path), line))
			n += pages_of(atoi(entry->d_name)) * 4 == kb &&
			     number(path, "mapped_kb") == kb;
	}
	if (dir)
		closedir(dir);
	return n;
}

TEST_F(stack, page_tables_agree_with_the_table)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SQPOLL };
	int ring;

	ASSERT_EQ(1, threads_of_class("task", 12));
	ASSERT_OK(spit(TABLE, "user-worker=20/24"));
	ASSERT_OK(ring = syscall(SYS_io_uring_setup, 4, &params));
	ASSERT_EQ(1, threads_of_class("user-worker", 20));
	close(ring);
}

TEST_F(stack, big_kthreads_own_all_pages)
{
	ASSERT_OK(spit(MODULE "big", "50"));
	ASSERT_EQ(50, atol(slurp(MODULE "big")));
}

/* Without memory creation fails; what was created is complete nevertheless. */
TEST_F(stack, big_kthreads_under_memory_pressure)
{
	static const char fail[] = "/sys/kernel/debug/fail_page_alloc/";
	long failed = 0, made = 0, ret;
	char path[100];

	if (access(fail, X_OK))
		SKIP(return, "kernel without CONFIG_FAIL_PAGE_ALLOC");
	/* kthreadd allocates the stack: all tasks, one allocation in 50. */
#define FAIL(file, text) ({ snprintf(path, sizeof(path), "%s" file, fail); spit(path, text); })
	ASSERT_OK(FAIL("ignore-gfp-wait", "N"));
	ASSERT_OK(FAIL("min-order", "0"));
	ASSERT_OK(FAIL("verbose", "0"));
	ASSERT_OK(FAIL("times", "-1"));
	ASSERT_OK(FAIL("probability", "2"));
	/* About one round in twenty fails: until five did, however many that takes. */
	for (int i = 0; i < 40 || (failed < 5 && i < 4000); i++) {
		ret = spit(MODULE "big", "20");
		if (ret && ret != -ENOMEM)
			break;
		failed += !!ret;
		made += atol(slurp(MODULE "big"));
	}
	/* This too can fail, until it is done. */
	while (FAIL("probability", "0"))
		;
	ASSERT_TRUE(!ret || ret == -ENOMEM) TH_LOG("%s", strerror(-ret));
	TH_LOG("%ld rounds failed, %ld kthreads made", failed, made);
	ASSERT_LE(5, failed);
	ASSERT_LT(0, made);
}

TEST_F(stack, tracepoints)
{
	pid_t child;
	int status;

	if (access(TRACING "events/stack_policy", X_OK))
		SKIP(return, "no tracefs");
	ASSERT_OK(clear_trace());
	ASSERT_OK(spit(TRACING "events/stack_policy/enable", "1"));
	child = must_fork();
	if (!child) {
		checked(spit(MODULE "ensure", "12000"));
		spit(MODULE "ensure", "40000");
		expect_overflow("allowed", "test-trace");
		_exit(!!checked(spit_number(MODULE "recurse", 24000)));
	}
	ASSERT_OK(waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_OK(spit(TRACING "events/stack_policy/enable", "0"));
	ASSERT_EQ(1, traced("stack_grow: class=task bytes=12000 from=12288 to=16384 ret=0"));
	ASSERT_LE(1, traced("stack_fault: pid="));
}

/* Threads in a memory cgroup of their own: charged while they live, not after. */
TEST_F(stack, charged_to_the_memory_cgroup)
{
	const char *stat = CGROUP "stack_policy_test/memory.stat";
	static pthread_t threads[200];
	long with, after;
	int ends[2];
	pid_t child;
	int status;

	if (spit(CGROUP "cgroup.subtree_control", "+memory"))
		SKIP(return, "no memory cgroup");
	ASSERT_OK(mkdir(CGROUP "stack_policy_test", 0755));
	child = must_fork();
	if (!child) {
		if (checked(spit(CGROUP "stack_policy_test/cgroup.procs", "0")))
			_exit(1);
		/* First, as the libc keeps what threads leave, and forks copy it. */
		if (fork_many(2000) || start_sleepers(threads, 200, ends))
			_exit(2);
		/* Grown pages are charged as well: 20 kB of stack more. */
		child = must_fork();
		if (!child)
			_exit(!!checked(spit(MODULE "hold", "25000")));
		/* The figure is flushed every two seconds. */
		wait_until((with = number(stat, "kernel_stack")) >= 201 * 12288 + 20480);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		if (with < 201 * 12288 + 20480 || with > 202 * 12288 + 2 * 20480)
			_exit(3);
		stop_sleepers(threads, 200, ends);
		_exit(0);
	}
	ASSERT_OK(waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	wait_until(!(after = number(stat, "kernel_stack")));
	EXPECT_EQ(0, after);
	ASSERT_OK(remove_group(CGROUP "stack_policy_test"));
}

/* A thread pays for its stack itself, whoever it grows for. */
TEST_F(stack, growth_for_another_cgroup)
{
	const char *group = CGROUP "stack_policy_test";
	pid_t child;
	int status;

	if (spit(CGROUP "cgroup.subtree_control", "+memory"))
		SKIP(return, "no memory cgroup");
	ASSERT_OK(mkdir(group, 0755));
	child = must_fork();
	if (!child)
		_exit(checked(spit(CGROUP "stack_policy_test/cgroup.procs", "0")) ||
		      checked(spit(MODULE "grow_for", "1")));
	ASSERT_OK(waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_OK(remove_group(group));
}

static int all_zero(const char *at, size_t len)
{
	return !*at && !memcmp(at, at + 1, len - 1);
}

/*
 * Read every stack's area through /proc/kcore, holes included: they are zeroes,
 * and the kernel does not fault.
 */
TEST_F(stack, kcore_reads_areas_with_holes)
{
	static char buf[64 * 1024];
	static const char kptr[] = "/proc/sys/kernel/kptr_restrict";
	int kcore = open("/proc/kcore", O_RDONLY), areas = 0, holes = 0;
	unsigned long start, end;
	char line[256];
	Elf64_Ehdr ehdr;
	FILE *info;

	if (kcore < 0)
		SKIP(return, "no /proc/kcore");
	ASSERT_EQ(sizeof(ehdr), pread(kcore, &ehdr, sizeof(ehdr), 0));
	/* With 1, vmallocinfo shows root real addresses. */
	ASSERT_OK(spit(kptr, "1"));
	info = fopen("/proc/vmallocinfo", "r");
	while (info && fgets(line, sizeof(line), info)) {
		if (!strstr(line, " kstack_") || sscanf(line, "%lx-%lx", &start, &end) != 2)
			continue;
		for (int i = 0; i < ehdr.e_phnum; i++) {
			Elf64_Phdr p;
			ssize_t len;

			ASSERT_EQ(sizeof(p), pread(kcore, &p, sizeof(p),
						   ehdr.e_phoff + i * sizeof(p)));
			if (p.p_type != PT_LOAD || start < p.p_vaddr ||
			    end > p.p_vaddr + p.p_memsz)
				continue;
			len = pread(kcore, buf, sizeof(buf), p.p_offset + start - p.p_vaddr);
			ASSERT_EQ(sizeof(buf), len);
			areas++;
			for (int page = 0; page < 16; page++)
				holes += all_zero(buf + page * 4096, 4096);
		}
	}
	if (info)
		fclose(info);
	spit(kptr, "0");
	close(kcore);
	ASSERT_LT(10, areas);
	/* Eight pages of each area are not in the span. */
	ASSERT_LT(8 * areas, holes);
}

/* A reader of other threads' files while these threads come and go and grow. */
struct reading {
	volatile bool stop;
	volatile long files;
};

static void *read_others(void *data)
{
	struct reading *r = data;

	while (!r->stop) {
		DIR *dir = opendir("/proc");
		struct dirent *entry;

		while (dir && (entry = readdir(dir))) {
			static const char * const names[] = { "stack_policy", "stack" };

			for (int i = 0; atoi(entry->d_name) && i < 2; i++) {
				char path[300], text[4096];
				int fd;

				snprintf(path, sizeof(path), "/proc/%s/%s", entry->d_name,
					 names[i]);
				fd = open(path, O_RDONLY);
				r->files += fd >= 0 && read(fd, text, sizeof(text)) > 0;
				if (fd >= 0)
					close(fd);
			}
		}
		if (dir)
			closedir(dir);
	}
	return NULL;
}

/*
 * Children that grow by asking and by overflow; 0 if all went well. With their parent's
 * memory, as in fork_many().
 */
static int churn(int rounds)
{
	for (int i = 0; i < rounds; i++) {
		pid_t child = checked(vfork());
		int status;

		if (!child) {
			if (i % 3 == 0 && checked(spit(MODULE "ensure", "20000")))
				_exit(1);
			if (i % 3 != 1 &&
			    checked(spit(MODULE "recurse", i % 2 ? "28000" : "15000")))
				_exit(2);
			_exit(0);
		}
		if (child < 0 || checked(waitpid(child, &status, 0)) < 0)
			return -1;
		if (status)
			return status;
	}
	return 0;
}

TEST_F(stack, readers_race_with_growth_and_exit)
{
	struct reading reading = {};
	pthread_t reader;

	expect_overflow("allowed", "test-churn");
	ASSERT_OK(-pthread_create(&reader, NULL, read_others, &reading));
	/* However long the reader takes. */
	for (int i = 0; i < 10 || reading.files < 1000; i++)
		ASSERT_EQ(0, churn(100));
	reading.stop = true;
	ASSERT_OK(-pthread_join(reader, NULL));
	TH_LOG("%ld files read", reading.files);
}

#define CPU1	"/sys/devices/system/cpu/cpu1/online"

TEST_F(stack, cpu_hotplug_while_growing)
{
	unsigned long long before = class_stats(TASK).grows_fault;
	pid_t child;
	int status;

	if (access(CPU1, W_OK))
		SKIP(return, "one CPU, or no CPU hotplug");
	expect_overflow("allowed", "test-churn");
	child = must_fork();
	if (!child) {
		while (getppid() != 1)
			if (churn(6))
				_exit(1);
		_exit(0);
	}
	/* Until stacks have grown while a CPU came or went, however slow that is. */
	for (int i = 0; i < 10 || class_stats(TASK).grows_fault <= before; i++) {
		ASSERT_OK(spit(CPU1, "0"));
		ASSERT_OK(spit(CPU1, "1"));
		ASSERT_EQ(0, waitpid(child, &status, WNOHANG)) TH_LOG("%s", strerror(errno));
	}
	kill(child, SIGKILL);
	ASSERT_OK(waitpid(child, &status, 0));
}

/*
 * Bring CPU 1 up, again and again, with another allocation that fails each time. Return: how
 * often it stayed offline, or -1 if it did for no reason.
 */
static int fail_each_of_a_cpu(int fd)
{
	int failed = 0;

	for (int nth = 1; nth < 500; nth++) {
		int ret, left;

		if (checked(spit(CPU1, "0")) || checked(fail_nth(fd, nth)))
			return -1;
		ret = spit(CPU1, "1");
		left = fail_nth(fd, 0);
		if (left)
			return ret ? -1 : failed;
		if (atoi(slurp(CPU1)) != !ret || (ret && ret != -ENOMEM)) {
			fprintf(stderr, "# allocation %d failed: CPU 1: %s\n", nth, strerror(-ret));
			return -1;
		}
		failed += !!ret;
		if (ret && checked(spit(CPU1, "1")))
			return -1;
	}
	return -1;
}

/* Each allocation of bringing a CPU up fails once, those of its reserve too. */
TEST_F(stack, cpu_without_reserve_stays_offline)
{
	const char *message = "no memory for the stack reserve of CPU 1";
	int before, failed, fd = allow_failures(), complaints_before = complaints();

	if (access(CPU1, W_OK) || fd < 0)
		SKIP(return, "one CPU, no CPU hotplug, or no CONFIG_FAULT_INJECTION");
	/*
	 * Sixteen pages, and for each of them the CPU stays away. Or twice, or for fifteen: what
	 * is allocated before them need not be the same each time, nor what is the nth.
	 */
	for (int i = 0; i < 5; i++) {
		before = logged(message);
		failed = fail_each_of_a_cpu(fd);
		ASSERT_LE(15, failed);
		ASSERT_EQ(1, atoi(slurp(CPU1)));
		if (logged(message) >= before + 16)
			break;
	}
	ASSERT_LE(before + 16, logged(message));
	ASSERT_LE(complaints(), complaints_before);
}
static int show_kvm(void)
{
	struct kvm_run *run;
	int vcpu = tiny_guest(&run);

	if (vcpu < 0) {
		fprintf(stderr, "no guest: /dev/kvm: %s\n", strerror(errno));
		return 1;
	}
	printf("before the first KVM_RUN:\n%s", slurp(MINE));
	if (ioctl(vcpu, KVM_RUN, 0)) {
		perror("KVM_RUN");
		return 1;
	}
	printf("after it (exit reason %u, KVM_EXIT_HLT is %u):\n%s", run->exit_reason,
	       KVM_EXIT_HLT, slurp(MINE));
	return 0;
}

static int show_idle(void)
{
	static pthread_t threads[1000];
	long before = kernel_stack_kb(), with, cold;
	int ends[2];

	if (start_sleepers(threads, 1000, ends))
		return 1;
	with = kernel_stack_kb();
	cold = settled_kb(before + 4100);
	printf("KernelStack: %ld kB before, %ld kB with 1000 more threads,\n"
	       "             %ld kB when they have slept for a while\n", before, with, cold);
	stop_sleepers(threads, 1000, ends);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "own"))
		return number(MINE, "mapped_kb") == 12 ? 0 : 7;
	if (argc == 2 && !strcmp(argv[1], "kvm"))
		return show_kvm();
	if (argc == 2 && !strcmp(argv[1], "idle"))
		return show_idle();
	return test_harness_run(argc, argv);
}

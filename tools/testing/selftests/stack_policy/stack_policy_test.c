// SPDX-License-Identifier: GPL-2.0
/*
 * What user space can see of the stack policy: sysctls, /proc, classes,
 * memory. "stack_policy_test kvm" and "stack_policy_test idle" print what a
 * vCPU thread and 1,000 idle threads have, for people.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#define TABLE	"/proc/sys/kernel/stack_policy"
#define ACTION	"/proc/sys/kernel/stack_policy_overflow"
#define DEFAULT	"task=12/32 kthread=12/32 kthread-big=32/32 kvm-vcpu=32/32 user-worker=12/32\n"
#define MINE	"/proc/thread-self/stack_policy"

/* The file's text, or "" with errno set. */
static const char *slurp(const char *path)
{
	static char text[8192];
	int fd = open(path, O_RDONLY);
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[len > 0 ? len : 0] = '\0';
	return text;
}

static int spit(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		err = -errno;
	close(fd);
	return err;
}

/* The number behind @key in a file of "key: number" lines, or -1. */
static long number(const char *path, const char *key)
{
	const char *at = strstr(slurp(path), key);

	return at ? atol(at + strlen(key) + 1) : -1;
}

static long kernel_stack_kb(void)
{
	return number("/proc/meminfo", "KernelStack");
}

/* Freed stacks pass RCU and a workqueue: wait until the figure is back. */
static long settled_kb(long target)
{
	int tries;

	for (tries = 0; tries < 100 && kernel_stack_kb() > target; tries++)
		usleep(50 * 1000);
	return kernel_stack_kb();
}

FIXTURE(table) { };
FIXTURE_SETUP(table)
{
	if (access(TABLE, R_OK))
		SKIP(return, "kernel without CONFIG_STACK_POLICY");
	ASSERT_EQ(0, spit(TABLE, "default"));
}
FIXTURE_TEARDOWN(table)
{
	spit(TABLE, "default");
}

TEST_F(table, reads_default)
{
	ASSERT_STREQ(DEFAULT, slurp(TABLE));
}

TEST_F(table, write_one_class)
{
	ASSERT_EQ(0, spit(TABLE, "user-worker=16/24"));
	ASSERT_NE(NULL, strstr(slurp(TABLE), "user-worker=16/24"));
	ASSERT_NE(NULL, strstr(slurp(TABLE), "task=12/32 kthread=12/32"));
}

TEST_F(table, bad_writes_change_nothing)
{
	static const char * const bad[] = {
		"task", "task=12", "task=0/32", "task=16/12", "task=12/36",
		"task=13/32", "nobody=12/32", "task=16/32 kthread=5/32", " ",
		"task=16/32 kthread", "task=99999999999/32",
	};
	char big[600];

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ASSERT_EQ(-EINVAL, spit(TABLE, bad[i])) TH_LOG("\"%s\"", bad[i]);
		ASSERT_STREQ(DEFAULT, slurp(TABLE));
	}
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
	ASSERT_EQ(0, spit(TABLE, "task=20/24"));
	child = fork();
	if (!child)
		_exit(number(MINE, "mapped_kb") != 20 ||
		      number(MINE, "populate_kb") != 20 ||
		      number(MINE, "limit_kb") != 24);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	/* The one that was there before has what it had. */
	ASSERT_EQ(12, number(MINE, "mapped_kb"));
}

TEST_F(table, unprivileged)
{
	pid_t child = fork();
	int status;

	if (!child) {
		if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
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
		execl("/proc/self/exe", "stack_policy_test", "own", NULL);
		_exit(6);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, WEXITSTATUS(status));
	ASSERT_STREQ(DEFAULT, slurp(TABLE));
}

TEST_F(table, overflow_action)
{
	ASSERT_STREQ("survive\n", slurp(ACTION));
	ASSERT_EQ(-EINVAL, spit(ACTION, "ignore"));
	ASSERT_EQ(-EINVAL, spit(ACTION, "a word that is far too long"));
	ASSERT_STREQ("survive\n", slurp(ACTION));
	ASSERT_EQ(0, spit(ACTION, "panic\n"));
	ASSERT_STREQ("panic\n", slurp(ACTION));
	ASSERT_EQ(0, spit(ACTION, "survive"));
}

TEST_F(table, own_thread)
{
	ASSERT_NE(NULL, strstr(slurp(MINE), "class: task\n"));
	ASSERT_EQ(32, number(MINE, "limit_kb"));
	ASSERT_GT(number(MINE, "high_water_bytes"), 500);
	ASSERT_LE(number(MINE, "high_water_bytes"), 12 * 1024);
	ASSERT_EQ(0, number(MINE, "grows_fault"));
}

/* @nr threads that sleep until *@stop is closed. */
static void *sleeper(void *pipe_end)
{
	char byte;

	if (read((int)(long)pipe_end, &byte, 1) < 0)
		perror("read");
	return NULL;
}

static int start_sleepers(pthread_t *threads, int nr, int ends[2])
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * 1024);
	if (pipe(ends))
		return -1;
	for (int i = 0; i < nr; i++)
		if (pthread_create(&threads[i], &attr, sleeper, (void *)(long)ends[0]))
			return -1;
	return 0;
}

static void stop_sleepers(pthread_t *threads, int nr, int ends[2])
{
	close(ends[1]);
	for (int i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
	close(ends[0]);
}

TEST_F(table, thousand_threads_cost_12_kb_each)
{
	static pthread_t threads[1000];
	long before = kernel_stack_kb(), with;
	int ends[2];

	ASSERT_EQ(0, start_sleepers(threads, 1000, ends));
	with = kernel_stack_kb();
	stop_sleepers(threads, 1000, ends);
	/* Per-CPU deltas of the counter are folded in late. */
	ASSERT_LE(with - before, 12 * 1000 + 1024);
	ASSERT_GE(with - before, 12 * 1000 - 1024);
	ASSERT_LE(settled_kb(before + 1024), before + 1024);
}

/* 0, or -1 if a fork failed. */
static int fork_ten_thousand(void)
{
	for (int i = 0; i < 10000; i++) {
		pid_t child = fork();

		if (!child)
			_exit(0);
		if (child < 0)
			return -1;
		if (i % 100 == 99)
			while (wait(NULL) > 0)
				;
	}
	return 0;
}

TEST_F_TIMEOUT(table, ten_thousand_forks_leave_nothing, 120)
{
	long kb = kernel_stack_kb(), free_kb, after;
	int tries = 0;

	/* The first round fills the allocator's per-CPU lists and page tables. */
	ASSERT_EQ(0, fork_ten_thousand());
	ASSERT_LE(settled_kb(kb + 1024), kb + 1024);
	free_kb = number("/proc/meminfo", "MemFree");
	ASSERT_EQ(0, fork_ten_thousand());
	ASSERT_LE(settled_kb(kb + 1024), kb + 1024);
	/* A page lost in each would be 40,000 kB. */
	do {
		after = number("/proc/meminfo", "MemFree");
		if (after <= free_kb - 16384)
			usleep(50 * 1000);
	} while (after <= free_kb - 16384 && tries++ < 100);
	ASSERT_GT(after, free_kb - 16384);
}

TEST_F_TIMEOUT(table, fork_survives_each_failed_allocation, 120)
{
	long kb = kernel_stack_kb();
	int nth, failed = 0;

	if (access("/proc/self/fail-nth", W_OK))
		SKIP(return, "kernel without CONFIG_FAULT_INJECTION");
	spit("/sys/kernel/debug/failslab/ignore-gfp-wait", "N");
	spit("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N");
	spit("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	spit("/sys/kernel/debug/failslab/verbose", "0");
	spit("/sys/kernel/debug/fail_page_alloc/verbose", "0");
	/* Each run fails one allocation later, until none was left to fail. */
	for (nth = 1; nth < 1000; nth++) {
		char text[16], left[16] = "";
		int fd = open("/proc/self/fail-nth", O_RDWR);
		pid_t child;

		ASSERT_LE(0, fd);
		snprintf(text, sizeof(text), "%d", nth);
		ASSERT_LT(0, write(fd, text, strlen(text)));
		/* A stack of a size that no cached one has. */
		child = syscall(SYS_fork);
		if (!child)
			_exit(0);
		ASSERT_LT(0, pread(fd, left, sizeof(left) - 1, 0));
		ASSERT_LT(0, pwrite(fd, "0", 1, 0));
		close(fd);
		if (child > 0) {
			waitpid(child, NULL, 0);
		} else {
			ASSERT_EQ(ENOMEM, errno) TH_LOG("nth=%d", nth);
			failed++;
		}
		if (atoi(left))
			break;
		spit(TABLE, nth & 1 ? "task=16/32" : "task=24/32");
	}
	ASSERT_LT(nth, 1000);
	ASSERT_GT(failed, 4);
	ASSERT_LE(settled_kb(kb + 1024), kb + 1024);
}

TEST_F_TIMEOUT(table, cpu_hotplug_while_forking, 120)
{
	static const char online[] = "/sys/devices/system/cpu/cpu1/online";
	pid_t forker;
	int status;

	if (access(online, W_OK))
		SKIP(return, "one CPU, or no CPU hotplug");
	forker = fork();
	if (!forker) {
		for (;;) {
			pid_t child = fork();

			if (!child)
				_exit(0);
			waitpid(child, NULL, 0);
		}
	}
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, spit(online, "0"));
		ASSERT_EQ(0, spit(online, "1"));
	}
	kill(forker, SIGKILL);
	ASSERT_EQ(forker, waitpid(forker, &status, 0));
}

/* A guest of one HLT. Return: its vCPU's fd, or -1; *@run is its kvm_run. */
static int tiny_guest(struct kvm_run **run)
{
	struct kvm_userspace_memory_region region = { .memory_size = 0x1000 };
	int kvm = open("/dev/kvm", O_RDWR), vm, vcpu;
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rflags = 2 };
	unsigned char *code;

	if (kvm < 0)
		return -1;
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return -1;
	code = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		    -1, 0);
	memset(code, 0xf4, 0x1000);	/* hlt */
	region.userspace_addr = (unsigned long)code;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		return -1;
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	*run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
		    MAP_SHARED, vcpu, 0);
	ioctl(vcpu, KVM_GET_SREGS, &sregs);
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	ioctl(vcpu, KVM_SET_SREGS, &sregs);
	ioctl(vcpu, KVM_SET_REGS, &regs);
	return vcpu;
}

struct vcpu_thread {
	int vcpu, ret;
	long before_kb, after_kb;
	int was_task, is_vcpu;
};

static void *run_vcpu(void *data)
{
	struct vcpu_thread *t = data;

	t->was_task = !!strstr(slurp(MINE), "class: task\n");
	t->before_kb = number(MINE, "mapped_kb");
	t->ret = ioctl(t->vcpu, KVM_RUN, 0);
	t->is_vcpu = !!strstr(slurp(MINE), "class: kvm-vcpu\n");
	t->after_kb = number(MINE, "mapped_kb");
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

		ASSERT_EQ(0, pthread_create(&thread, NULL, run_vcpu, &t));
		pthread_join(thread, NULL);
		ASSERT_EQ(0, t.ret);
		ASSERT_EQ(KVM_EXIT_HLT, run->exit_reason);
		ASSERT_EQ(1, t.was_task);
		ASSERT_EQ(12, t.before_kb);
		ASSERT_EQ(1, t.is_vcpu);
		ASSERT_EQ(32, t.after_kb);
	}
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
	long before = kernel_stack_kb(), with;
	int ends[2];

	if (start_sleepers(threads, 1000, ends)) {
		perror("threads");
		return 1;
	}
	with = kernel_stack_kb();
	printf("KernelStack: %ld kB before, %ld kB with 1000 more threads\n", before, with);
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

// SPDX-License-Identifier: GPL-2.0
/*
 * What a thread was given it has while it runs: cold threads that are woken by
 * whatever wakes threads, with memory and without. Needs stack_policy_testmod.ko.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/stddef.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "tiny_fuse.h"
#include "util.h"

#define NR	200
#define MANY	10000
#define GROUP	CGROUP "wake_test/"
#define NO_MEMORY "kstack: no memory for stacks: "

FIXTURE(wake) { };
FIXTURE_SETUP(wake)
{
	if (access(MODULE "nap", W_OK) || access(TRIM, W_OK))
		SKIP(return, "stack_policy_testmod.ko is not loaded");
	ASSERT_OK(spit(TABLE, "default"));
	ASSERT_OK(spit(COLD_SECS, "0"));
}
FIXTURE_TEARDOWN(wake)
{
	spit(COLD_MS, DEFAULT_COLD_MS);
	/* Of a test that did not get to it. */
	spit(FAIL_REFILL "probability", "0");
	spit(TRACING "events/stack_policy/enable", "0");
}

/* What is to wake others must not be one of those that have to wait. */
static int be_real_time(pid_t pid)
{
	struct sched_param param = { .sched_priority = 1 };

	return checked(sched_setscheduler(pid, SCHED_FIFO, &param));
}

/* All pages but those of other sleepers, and those at hand. */
static int no_pages(bool none)
{
	return spit(FAIL_REFILL "verbose", "0") ?: spit(FAIL_REFILL "times", "-1") ?:
	       spit(FAIL_REFILL "probability", none ? "100" : "0");
}

static bool all_cold(int nr, unsigned long long trims)
{
	return wait_until(!checked(spit(TRIM, "1")) && class_stats(TASK).trims_cold >= trims + nr);
}

/* How many threads of this process sleep, by what people are shown. */
static int shown_asleep(void)
{
	char path[64];
	int n = 0;

	for (pid_t tid = getpid(); tid < getpid() + 2 * NR; tid++) {
		snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
		n += !!strstr(slurp(path), "State:\tS");
	}
	return n;
}

/* For more than ten seconds there is no memory. Nobody runs without his stack; then all do. */
TEST_F(wake, nobody_runs_short)
{
	static pthread_t threads[NR];
	unsigned long long late = 0;
	struct stats before, after;
	int ends[2], complaints;
	long waiting;

	if (access(FAIL_REFILL, X_OK))
		SKIP(return, "kernel without CONFIG_FAIL_KSTACK_REFILL");
	complaints = logged(NO_MEMORY);
	ASSERT_OK(clear_trace());
	ASSERT_OK(spit(TRACING "events/stack_policy/stack_late/enable", "1"));
	before = class_stats(TASK);
	ASSERT_OK(start_sleepers(threads, NR, ends));
	ASSERT_TRUE(all_cold(NR, before.trims_cold));
	ASSERT_LE(NR * 2, number(POOL, "owed"));
	be_real_time(0);
	before = class_stats(TASK);
	ASSERT_OK(no_pages(true));
	close(ends[1]);
	EXPECT_TRUE(wait_until(number(POOL, "waiting") > NR / 4));
	sleep(12);
	waiting = number(POOL, "waiting");
	EXPECT_TRUE(wait_until(logged(NO_MEMORY) > complaints));
	EXPECT_LT(NR / 4, waiting);
	EXPECT_LE(waiting, shown_asleep());
	EXPECT_OK(no_pages(false));
	for (int i = 0; i < NR; i++)
		pthread_join(threads[i], NULL);
	close(ends[0]);
	after = class_stats(TASK);
	EXPECT_LE(waiting, after.late_starts - before.late_starts);
	/* 2^23 microseconds and more. */
	for (int i = 24; i < 32; i++)
		late += after.late_us[i] - before.late_us[i];
	EXPECT_LE(waiting, late);
	EXPECT_EQ(before.grows_fault, after.grows_fault);
	EXPECT_EQ(0, number(POOL, "waiting"));
	EXPECT_LE(1, traced("stack_late: pid="));
	TH_LOG("%ld of %d waited, %llu started late", waiting, NR,
	       after.late_starts - before.late_starts);
}

/* Who waits for his stack is not lost to a signal: dies when there is one. */
TEST_F(wake, killed_while_it_waits)
{
	pid_t children[NR];
	struct stats before;

	if (access(FAIL_REFILL, X_OK))
		SKIP(return, "kernel without CONFIG_FAIL_KSTACK_REFILL");
	before = class_stats(TASK);
	for (int i = 0; i < NR; i++)
		children[i] = sleeping_child();
	be_real_time(0);
	ASSERT_TRUE(all_cold(NR, before.trims_cold));
	ASSERT_OK(no_pages(true));
	for (int i = 0; i < NR; i++)
		kill(children[i], SIGUSR2);
	EXPECT_TRUE(wait_until(number(POOL, "waiting") > NR / 4));
	for (int i = 0; i < NR; i++)
		kill(children[i], SIGKILL);
	EXPECT_LT(NR / 4, number(POOL, "waiting"));
	EXPECT_OK(no_pages(false));
	for (int i = 0; i < NR; i++)
		EXPECT_EQ(children[i], checked(waitpid(children[i], NULL, 0)));
	EXPECT_EQ(before.grows_fault, class_stats(TASK).grows_fault);
}

/* How many started late before @pid did, as the trace has it; -1 if @pid did not. */
static int late_before(pid_t pid)
{
	const char *text = slurp(TRACING "trace");
	char word[32];
	int n = 0;

	snprintf(word, sizeof(word), "stack_late: pid=%d ", pid);
	for (const char *at = text; (at = strstr(at, "stack_late: pid=")); at++, n++)
		if (!strncmp(at, word, strlen(word)))
			return n;
	return -1;
}

static void nothing(int signal)
{
}

/* One that ends by a signal that does not kill it. */
static pid_t interrupted_child(void)
{
	pid_t child;

	/* The child has the handler from the start. */
	signal(SIGUSR1, nothing);
	child = must_fork();
	if (child)
		return child;
	pause();
	_exit(0);
}

/* A killed thread gives memory back, a real-time one has a deadline. The last ones here. */
TEST_F(wake, who_is_urgent_comes_first)
{
	static pthread_t threads[NR];
	pid_t killed, real_time;
	struct stats before;
	int ends[2];

	if (access(FAIL_REFILL, X_OK))
		SKIP(return, "kernel without CONFIG_FAIL_KSTACK_REFILL");
	before = class_stats(TASK);
	killed = sleeping_child();
	real_time = interrupted_child();
	ASSERT_OK(start_sleepers(threads, NR, ends));
	ASSERT_TRUE(all_cold(NR + 2, before.trims_cold));
	ASSERT_TRUE(trim_child(killed));
	ASSERT_TRUE(trim_child(real_time));
	be_real_time(0);
	ASSERT_OK(no_pages(true));
	close(ends[1]);
	EXPECT_TRUE(wait_until(number(POOL, "waiting") > NR / 4));
	ASSERT_OK(clear_trace());
	ASSERT_OK(spit(TRACING "events/stack_policy/stack_late/enable", "1"));
	kill(killed, SIGKILL);
	be_real_time(real_time);
	kill(real_time, SIGUSR1);
	EXPECT_LT(NR / 4, number(POOL, "waiting"));
	EXPECT_OK(no_pages(false));
	EXPECT_EQ(killed, checked(waitpid(killed, NULL, 0)));
	EXPECT_EQ(real_time, checked(waitpid(real_time, NULL, 0)));
	for (int i = 0; i < NR; i++)
		pthread_join(threads[i], NULL);
	close(ends[0]);
	/* Somebody may have been served just then. */
	EXPECT_GT(5, late_before(killed));
	EXPECT_LE(0, late_before(killed));
	EXPECT_GT(5, late_before(real_time));
	EXPECT_LE(0, late_before(real_time));
}

/* Given back by who has slept a moment only: the sysctl says never, and there is no page. */
TEST_F(wake, others_give_what_they_do_not_use)
{
	static pthread_t threads[NR];
	struct stats before, after;
	int ends[2], first[2];
	pid_t child;

	if (access(FAIL_REFILL, X_OK))
		SKIP(return, "kernel without CONFIG_FAIL_KSTACK_REFILL");
	before = class_stats(TASK);
	child = must_fork();
	if (!child)
		_exit(start_sleepers(threads, NR / 2, first) || (pause(), 0));
	ASSERT_TRUE(all_cold(NR / 2, before.trims_cold));
	ASSERT_OK(start_sleepers(threads, NR, ends));
	be_real_time(0);
	before = class_stats(TASK);
	ASSERT_OK(no_pages(true));
	kill(child, SIGKILL);
	/* All of them run and end, with pages of ours. */
	EXPECT_EQ(child, checked(waitpid(child, NULL, 0)));
	after = class_stats(TASK);
	EXPECT_OK(no_pages(false));
	EXPECT_LT(0, after.trims_cold - before.trims_cold);
	EXPECT_EQ(before.grows_fault, after.grows_fault);
	stop_sleepers(threads, NR, ends);
}

static void *sleeps_again(void *pipe_end)
{
	sleeper(pipe_end);
	pause();
	return NULL;
}

/*
 * What a stack gets back is charged by force. So its cgroup may exceed its limit by that, and
 * not by more than it would have had with stacks that are never trimmed; the next one who
 * asks pays for it.
 */
TEST_F(wake, in_a_full_cgroup)
{
	static pthread_t threads[MANY];
	struct stats before = class_stats(TASK);
	int wakes[2], asks[2], report[2], status = -1;
	long max, peak;
	pthread_attr_t attr;
	pid_t child;
	char byte;

	spit(CGROUP "cgroup.subtree_control", "+memory");
	ASSERT_OK(mkdir(GROUP, 0755));
	ASSERT_OK(pipe(wakes));
	ASSERT_OK(pipe(asks));
	ASSERT_OK(pipe(report));
	child = must_fork();
	if (!child) {
		close(wakes[1]);
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, 64 * 1024);
		if (checked(spit(GROUP "cgroup.procs", "0")))
			_exit(1);
		for (int i = 0; i < MANY; i++)
			if (checked(-pthread_create(&threads[i], &attr, sleeps_again,
						    (void *)(long)wakes[0])))
				_exit(1);
		checked(write(report[1], "x", 1));
		/* With the others, who stay. Then it asks for more than there is. */
		checked(read(wakes[0], &byte, 1));
		checked(read(asks[0], &byte, 1));
		memset(mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0), 1, 8 << 20);
		_exit(0);
	}
	close(report[1]);
	EXPECT_EQ(1, checked(read(report[0], &byte, 1)));
	EXPECT_TRUE(all_cold(MANY, before.trims_cold));
	EXPECT_TRUE(wait_until(!class_stats(TASK).retained_kb));
	/* A page or two for what is charged beside stacks. */
	max = atol(slurp(GROUP "memory.current")) + 256 * 1024;
	ASSERT_OK(spit_number(GROUP "memory.max", max));
	max = atol(slurp(GROUP "memory.max"));
	close(wakes[1]);
	EXPECT_TRUE(wait_until(number(GROUP "memory.stat", "kernel_stack") >= MANY * 12288));
	peak = atol(slurp(GROUP "memory.peak"));
	EXPECT_LT(max, peak);
	/* Each CPU may have charged 64 pages in advance when the threads were created. */
	EXPECT_GT(max + MANY * 8192 + sysconf(_SC_NPROCESSORS_ONLN) * 64 * 4096, peak);
	EXPECT_EQ(0, number(GROUP "memory.events", "oom_kill"));
	checked(write(asks[1], "x", 1));
	EXPECT_EQ(child, checked(waitpid(child, &status, 0)));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_LE(1, number(GROUP "memory.events", "oom_kill"));
	TH_LOG("%ld kB beyond a limit of %ld kB", (peak - max) / 1024, max / 1024);
	ASSERT_OK(remove_group(GROUP));
}

/* Cold by now, and complete soon, without having run. */
static const char *becomes(int (*what)(pid_t pid), pid_t pid)
{
	char path[64];
	long switches;

	if (!trim_child(pid) || of_thread(pid, "mapped_kb") != 4)
		return "it is not cold";
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	switches = number(path, "\nvoluntary_ctxt_switches");
	if (what(pid))
		return "it cannot become that";
	if (wait_for(pid, "mapped_kb", 12) != 12)
		return "it stays cold";
	if (number(path, "\nvoluntary_ctxt_switches") != switches)
		return "it has run";
	if (spit(TRIM, "1") || of_thread(pid, "mapped_kb") != 12)
		return "it is cold again";
	return "";
}

TEST_F(wake, real_time_does_not_wait)
{
	pid_t child = sleeping_child();

	EXPECT_STREQ("", becomes(be_real_time, child));
	reap(child);
}

/* There and then: whoever comes by later has nothing to do with it. */
TEST_F(wake, real_time_is_complete_at_once)
{
	pid_t child = sleeping_child();

	EXPECT_TRUE(trim_child(child));
	EXPECT_EQ(4, of_thread(child, "mapped_kb"));
	EXPECT_TRUE(wait_until(number(POOL, "pages") >= 2));
	ASSERT_OK(be_real_time(child));
	EXPECT_EQ(12, of_thread(child, "mapped_kb"));
	EXPECT_TRUE(asleep(child));
	reap(child);
}

/* It has a lock, and somebody comes for that who may not wait. */
TEST_F(wake, who_is_boosted_is_complete_at_once)
{
	unsigned int *lock = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child, waits;

	ASSERT_NE(MAP_FAILED, lock);
	child = must_fork();
	if (!child) {
		checked(syscall(SYS_futex, lock, FUTEX_LOCK_PI, 0, NULL));
		for (;;)
			pause();
	}
	EXPECT_TRUE(wait_until(*(volatile unsigned int *)lock == (unsigned int)child));
	EXPECT_TRUE(trim_child(child));
	EXPECT_EQ(4, of_thread(child, "mapped_kb"));
	EXPECT_TRUE(wait_until(number(POOL, "pages") >= 2));
	waits = must_fork();
	if (!waits) {
		be_real_time(0);
		_exit(checked(syscall(SYS_futex, lock, FUTEX_LOCK_PI, 0, NULL)));
	}
	EXPECT_TRUE(wait_until(*(volatile unsigned int *)lock & FUTEX_WAITERS));
	EXPECT_TRUE(asleep(waits));
	EXPECT_EQ(12, of_thread(child, "mapped_kb"));
	EXPECT_TRUE(asleep(child));
	reap(waits);
	reap(child);
}

static int locks[2];

static int lock_memory(pid_t pid)
{
	return checked(write(locks[1], "x", 1)) != 1;
}

static void *locker(void *nothing)
{
	static char page[4096];
	char byte;

	checked(read(locks[0], &byte, 1));
	checked(mlock(page, sizeof(page)));
	pause();
	return NULL;
}

/* Another thread of its process does. */
TEST_F(wake, locked_memory_does_not_wait)
{
	pthread_t thread;
	pid_t child;

	ASSERT_OK(pipe(locks));
	child = must_fork();
	if (!child) {
		checked(-pthread_create(&thread, NULL, locker, NULL));
		for (;;)
			pause();
	}
	EXPECT_STREQ("", becomes(lock_memory, child));
	reap(child);
}

TEST_F(wake, ptrace_stops_it)
{
	pid_t child = sleeping_child();
	int status = 0;

	EXPECT_TRUE(trim_child(child));
	EXPECT_TRUE(asleep(child));
	ASSERT_OK(ptrace(PTRACE_SEIZE, child, 0, 0));
	ASSERT_OK(ptrace(PTRACE_INTERRUPT, child, 0, 0));
	EXPECT_EQ(child, checked(waitpid(child, &status, 0)));
	EXPECT_TRUE(WIFSTOPPED(status));
	EXPECT_EQ(12, of_thread(child, "mapped_kb"));
	EXPECT_TRUE(in_state(child, "State:\tt"));
	EXPECT_OK(ptrace(PTRACE_DETACH, child, 0, 0));
	EXPECT_TRUE(asleep(child));
	reap(child);
}

TEST_F(wake, stop_and_continue)
{
	pid_t child = sleeping_child();
	int status = 0;

	EXPECT_TRUE(trim_child(child));
	kill(child, SIGSTOP);
	EXPECT_EQ(child, checked(waitpid(child, &status, WUNTRACED)));
	EXPECT_TRUE(WIFSTOPPED(status));
	EXPECT_EQ(12, of_thread(child, "mapped_kb"));
	kill(child, SIGCONT);
	EXPECT_TRUE(asleep(child));
	reap(child);
}

/* The lock is handed to a thread that sleeps, which is cold. */
TEST_F(wake, gets_a_pi_futex)
{
	unsigned int *lock = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child;
	int status = -1;

	ASSERT_NE(MAP_FAILED, lock);
	ASSERT_OK(syscall(SYS_futex, lock, FUTEX_LOCK_PI, 0, NULL));
	child = must_fork();
	if (!child) {
		checked(syscall(SYS_futex, lock, FUTEX_LOCK_PI, 0, NULL));
		_exit((*lock & FUTEX_TID_MASK) != (unsigned int)getpid());
	}
	EXPECT_TRUE(trim_child(child));
	EXPECT_EQ(getpid(), (pid_t)(*lock & FUTEX_TID_MASK));
	ASSERT_OK(syscall(SYS_futex, lock, FUTEX_UNLOCK_PI));
	EXPECT_EQ(child, checked(waitpid(child, &status, 0)));
	EXPECT_EQ(0, status);
}

/* By a timer: what it waits for has not come, and it says so. */
TEST_F(wake, timeouts_run_out)
{
	bool *was_cold = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			      -1, 0);
	int status = -1;
	pid_t child;

	ASSERT_NE(MAP_FAILED, was_cold);
	child = must_fork();
	if (!child) {
		struct epoll_event event;
		int ret, fd = epoll_create1(0);

		do
			ret = checked(epoll_wait(fd, &event, 1, 3000));
		while (!ret && !*(volatile bool *)was_cold);
		_exit(ret);
	}
	EXPECT_TRUE(trim_child(child));
	*(volatile bool *)was_cold = true;
	EXPECT_EQ(child, checked(waitpid(child, &status, 0)));
	EXPECT_EQ(0, status);
}

/* All of a process at once, by a signal that kills it: with its locks held. */
TEST_F(wake, a_process_dies)
{
	static pthread_t threads[1000];
	struct stats before = class_stats(TASK), after;
	int ends[2], status = 0;
	pid_t child = must_fork();

	if (!child) {
		checked(start_sleepers(threads, 1000, ends));
		pause();
	}
	EXPECT_TRUE(all_cold(1000, before.trims_cold));
	kill(child, SIGKILL);
	EXPECT_EQ(child, checked(waitpid(child, &status, 0)));
	EXPECT_TRUE(WIFSIGNALED(status));
	after = class_stats(TASK);
	EXPECT_EQ(before.grows_fault, after.grows_fault);
	EXPECT_TRUE(wait_until(number(POOL, "owed") < 1000));
	/* Nor does the pool keep what nobody is owed any more: a thread's, and a quarter. */
	EXPECT_TRUE(wait_until(number(POOL, "pages") <= 9 + number(POOL, "owed") / 4));
	TH_LOG("1000 killed, %llu started late", after.late_starts - before.late_starts);
}

/* What the iterator below says of each thread of a process. */
struct frames { long long len, ip[31]; };

#define INSN(c, d, s, o, i)	((struct bpf_insn){ .code = (c), .dst_reg = (d), \
				 .src_reg = (s), .off = (o), .imm = (i) })
#define LOAD(d, s, off)		INSN(BPF_LDX | BPF_MEM | BPF_DW, d, s, off, 0)
#define STORE(off, s)		INSN(BPF_STX | BPF_MEM | BPF_DW, 10, s, off, 0)
#define SET(d, imm)		INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, imm)
#define MOVE(d, s)		INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define ADD(d, imm)		INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, imm)
#define CALL(helper)		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_##helper)
#define UNLESS(r, skip)		INSN(BPF_JMP | BPF_JEQ | BPF_K, r, 0, skip, 0)
#define EXIT()			INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* An iterator over tasks that writes the frames of each. Return: its file, or -errno. */
static int open_frames_of(pid_t pid)
{
	const int at = -(int)sizeof(struct frames);
	const struct bpf_insn insns[] = {
		LOAD(7, 1, 8),				/* ctx->task */
		UNLESS(7, 14),				/* the end */
		LOAD(8, 1, 0),				/* ctx->meta */
		LOAD(8, 8, 0),				/* ->seq */
		MOVE(1, 7),
		MOVE(2, 10),
		ADD(2, at + 8),
		SET(3, sizeof(struct frames) - 8),
		SET(4, 0),
		CALL(get_task_stack),
		STORE(at, 0),
		MOVE(1, 8),
		MOVE(2, 10),
		ADD(2, at),
		SET(3, sizeof(struct frames)),
		CALL(seq_write),
		SET(0, 0),
		EXIT(),
	};
	union bpf_iter_link_info info = { .task = { .pid = pid } };
	static char log[1 << 16];
	FILE *types = popen("bpftool btf dump file /sys/kernel/btf/vmlinux | "
			    "sed -n \"s/^\\[\\([0-9]*\\)\\] FUNC 'bpf_iter_task' .*/\\1/p\"", "r");
	union bpf_attr prog = {
		.prog_type = BPF_PROG_TYPE_TRACING,
		.expected_attach_type = BPF_TRACE_ITER,
		.insns = (unsigned long)insns,
		.insn_cnt = sizeof(insns) / sizeof(*insns),
		.license = (unsigned long)"GPL",
		.log_buf = (unsigned long)log,
		.log_size = sizeof(log),
		.log_level = 1,
	}, link = { .link_create = {
		.attach_type = BPF_TRACE_ITER,
		.iter_info = (unsigned long)&info,
		.iter_info_len = sizeof(info),
	} }, iter = {};

	if (!types || fscanf(types, "%u", &prog.attach_btf_id) != 1)
		fprintf(stderr, "# no type of bpf_iter_task()\n");
	if (types)
		pclose(types);
	link.link_create.prog_fd = checked(bpf(BPF_PROG_LOAD, &prog));
	if ((int)link.link_create.prog_fd < 0)
		fprintf(stderr, "# BPF verifier: %s\n", log);
	iter.iter_create.link_fd = checked(bpf(BPF_LINK_CREATE, &link));
	return checked(bpf(BPF_ITER_CREATE, &iter));
}

/* Lines of what /proc shows: as many as there are frames. */
static int frames_in_proc(pid_t pid)
{
	char path[64];
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	for (const char *at = slurp(path); (at = strchr(at, '\n')); at++)
		n++;
	return n;
}

/* Programs see the frames of a stack with holes, and leave it as it is. */
TEST_F(wake, bpf_reads_cold_stacks)
{
	static pthread_t threads[NR];
	pid_t child = must_fork(), tids[NR + 1];
	struct frames f, mine;
	int ends[2], n, fd;

	if (!child) {
		checked(start_sleepers(threads, NR, ends));
		for (;;)
			pause();
	}
	ASSERT_TRUE(wait_until(threads_of(child, tids, NR + 1) == NR + 1));
	EXPECT_TRUE(wait_until(!checked(spit(TRIM, "1")) && cold_ones(tids, NR + 1, 1) == NR + 1));
	fd = open_frames_of(child);
	ASSERT_LE(0, fd);
	/* The first is the process, which sleeps elsewhere. */
	ASSERT_EQ(sizeof(f), checked(read(fd, &mine, sizeof(mine))));
	EXPECT_EQ(frames_in_proc(child) * 8, mine.len);
	for (n = 0; read(fd, &f, sizeof(f)) == sizeof(f); n++) {
		ASSERT_EQ(frames_in_proc(tids[1]) * 8, f.len);
		EXPECT_LT(4 * 8, f.len);
		/* Both came by the same entry. */
		EXPECT_EQ(mine.ip[mine.len / 8 - 1], f.ip[f.len / 8 - 1]);
	}
	close(fd);
	EXPECT_EQ(NR, n);
	EXPECT_EQ(NR + 1, cold_ones(tids, NR + 1, 1));
	reap(child);
}

/*
 * A machine of 256 MB in which cold threads have taken all but some of the memory, and are
 * woken together, with interrupts off: there is stack for a part of them, and for others
 * when those have ended.
 */
#define TIGHT_MAX	20000
#define TIGHT_KB	(16 * 1024)
#define TIGHT_MIN	1000

static long available_kb(void)
{
	return number("/proc/meminfo", "MemAvailable");
}

/* Of threads that have ended it comes back for some time yet. */
static void wait_for_memory(void)
{
	long before;

	do {
		before = available_kb();
		sleep(2);
	} while (available_kb() > before + 256);
}

FIXTURE(tight) { };
FIXTURE_SETUP(tight)
{
	if (number("/proc/meminfo", "MemTotal") > 256 * 1024)
		SKIP(return, "a machine that has memory");
	ASSERT_OK(spit(COLD_SECS, "1"));
	ASSERT_OK(spit("/proc/sys/kernel/threads-max", "100000"));
	ASSERT_OK(spit("/proc/sys/kernel/pid_max", "100000"));
	ASSERT_OK(spit("/proc/sys/vm/max_map_count", "1000000"));
	wait_for_memory();
}
FIXTURE_TEARDOWN(tight)
{
	spit(COLD_MS, DEFAULT_COLD_MS);
}

/*
 * Threads until there is memory for some of their stacks only, or, with @fit, just for what
 * each of them is owed. Return: how many they are.
 */
static int fill_with_sleepers(pthread_t *threads, void *(*fn)(void *pipe_end), int ends[2],
			      bool fit)
{
	pthread_attr_t attr;
	int nr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 16384);
	pthread_attr_setguardsize(&attr, 0);
	for (nr = 0; nr < TIGHT_MAX; nr++) {
		if (nr % 100 == 0 && available_kb() < TIGHT_KB + (fit ? nr * 8 : 0))
			break;
		if (-pthread_create(&threads[nr], &attr, fn, (void *)(long)ends[0]))
			break;
		/* Those are cold by the time that there are more. */
		if (nr % 500 == 499)
			checked(spit(TRIM, "1"));
	}
	return nr;
}

/*
 * A child with as many threads, all cold, that sleep until ends[1] is closed; how many these
 * are comes through @report.
 */
static pid_t tight_child(int report[2], void *(*fn)(void *pipe_end), int ends[2], bool fit)
{
	static pthread_t threads[TIGHT_MAX];
	pid_t child;
	int nr;

	if (checked(pipe(report)) || checked(pipe(ends)))
		return -1;
	child = must_fork();
	if (child)
		return child;
	close(ends[1]);
	spit("/proc/self/oom_score_adj", "1000");
	nr = fill_with_sleepers(threads, fn, ends, fit);
	checked(write(report[1], &nr, sizeof(nr)));
	/* Until somebody kills it. */
	for (;;)
		pause();
}

static int cold_threads(int report[2])
{
	int nr = 0;

	checked(read(report[0], &nr, sizeof(nr)));
	wait_until(!checked(spit(TRIM, "1")) && number(POOL, "owed") >= nr * 2);
	return nr;
}

TEST_F(tight, all_woken_at_once)
{
	struct stats before, after;
	int report[2], ends[2], nr;
	pid_t child = tight_child(report, sleeper, ends, false);
	char path[64];

	ASSERT_LT(0, child);
	nr = cold_threads(report);
	ASSERT_LE(TIGHT_MIN, nr);
	before = class_stats(TASK);
	close(ends[1]);
	snprintf(path, sizeof(path), "/proc/%d/status", child);
	EXPECT_TRUE(wait_until(number(path, "\nThreads") == 1));
	after = class_stats(TASK);
	EXPECT_LT(0, after.late_starts - before.late_starts);
	EXPECT_EQ(before.grows_fault, after.grows_fault);
	TH_LOG("%d threads, %llu started late", nr, after.late_starts - before.late_starts);
	reap(child);
}

static void dies_of(struct __test_metadata *_metadata, int signal, bool fit)
{
	struct stats before, after;
	int report[2], ends[2], status = 0, nr;
	pid_t child = tight_child(report, sleeper, ends, fit);

	ASSERT_LT(0, child);
	nr = cold_threads(report);
	ASSERT_LE(TIGHT_MIN, nr);
	before = class_stats(TASK);
	kill(child, signal);
	EXPECT_EQ(child, checked(waitpid(child, &status, 0)));
	EXPECT_TRUE(WIFSIGNALED(status));
	after = class_stats(TASK);
	EXPECT_EQ(before.grows_fault, after.grows_fault);
	TH_LOG("%d threads, %llu started late", nr, after.late_starts - before.late_starts);
}

TEST_F(tight, all_killed_at_once)
{
	dies_of(_metadata, SIGKILL, false);
}

/* All of its threads have to come together first, each with its stack. */
TEST_F(tight, all_in_a_core_dump)
{
	dies_of(_metadata, SIGABRT, true);
}

#define FUSE_DIR	"/tmp/wake_test_fuse"
#define FUSE_SIZE	(4 << 20)

/* Opens a file, is told to write, and waits until it is written. Nobody lets it wait for stack. */
static int write_file(const char *path, int start)
{
	static unsigned long long words[FUSE_MAX_WRITE / 8];
	int fd = checked(open(path, O_WRONLY));

	be_real_time(0);
	sleeper((void *)(long)start);
	for (unsigned long long at = 0; at < FUSE_SIZE; at += sizeof(words)) {
		for (unsigned int i = 0; i < FUSE_MAX_WRITE / 8; i++)
			words[i] = at + i * 8;
		if (checked(write(fd, words, sizeof(words))) != sizeof(words))
			return 1;
	}
	return checked(fsync(fd)) ?: checked(close(fd));
}

/*
 * A daemon that others wait for waits for its stack behind thousands, for whom there is not
 * memory enough, and who keep their stacks when they have them: they sleep again, and the
 * sysctl says that nobody is trimmed. They are, before somebody is killed for it.
 */
TEST_F(tight, a_daemon_behind_thousands)
{
	struct tiny_fuse *fuse = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const char *killing = "kstack_alloc invoked oom-killer";
	int report[2], ends[2], start[2], nr, fd, status = -1, killed = logged(killing);
	struct stats before, after;
	pid_t daemon, writer, child;

	if (access("/dev/fuse", W_OK))
		SKIP(return, "kernel without CONFIG_FUSE_FS");
	ASSERT_NE(MAP_FAILED, fuse);
	ASSERT_OK(spit(COLD_SECS, "0"));
	ASSERT_OK(pipe(start));
	ASSERT_OK(mkdir(FUSE_DIR, 0755));
	fd = tiny_fuse_mount(FUSE_DIR);
	ASSERT_LE(0, fd);
	daemon = must_fork();
	if (!daemon) {
		tiny_fuse_serve(fd, fuse);
		_exit(0);
	}
	writer = must_fork();
	if (!writer)
		_exit(write_file(FUSE_DIR "/data", start[0]));
	child = tight_child(report, sleeps_again, ends, false);
	ASSERT_LT(0, child);
	nr = cold_threads(report);
	EXPECT_LE(TIGHT_MIN, nr);
	EXPECT_TRUE(trim_child(daemon));
	/* Its own pages are gone too. */
	EXPECT_TRUE(wait_until(!class_stats(TASK).retained_kb));
	before = class_stats(TASK);
	be_real_time(0);
	close(ends[1]);
	EXPECT_EQ(1, checked(write(start[1], "x", 1)));
	EXPECT_EQ(writer, checked(waitpid(writer, &status, 0)));
	EXPECT_EQ(0, status);
	EXPECT_LE(FUSE_SIZE, fuse->written);
	EXPECT_EQ(0, fuse->wrong);
	EXPECT_LE(1, of_thread(daemon, "late_starts"));
	after = class_stats(TASK);
	EXPECT_EQ(before.grows_fault, after.grows_fault);
	TH_LOG("%d threads, %llu started late, the daemon %ld times", nr,
	       after.late_starts - before.late_starts, of_thread(daemon, "late_starts"));
	EXPECT_EQ(killed, logged(killing));
	reap(child);
	EXPECT_OK(umount(FUSE_DIR));
	EXPECT_EQ(daemon, checked(waitpid(daemon, NULL, 0)));
	EXPECT_OK(rmdir(FUSE_DIR));
}

TEST_HARNESS_MAIN

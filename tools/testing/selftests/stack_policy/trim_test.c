// SPDX-License-Identifier: GPL-2.0
/*
 * Stack memory that is given back: on the way to user mode, while a thread
 * sleeps, and under all the races that user space can provoke. Needs
 * stack_policy_testmod.ko. "trim_test stress SECONDS" does only the last.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/stddef.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "util.h"

#define GROUP		CGROUP "trim_test/"
#define CPU1		"/sys/devices/system/cpu/cpu1/online"
#define DEEP		"27000"

static void on_signal(int sig)
{
}

/* A child that writes @bytes to @file of the module, until it gets SIGUSR1. */
static pid_t blocked_child(const char *file, const char *bytes)
{
	struct sigaction action = { .sa_handler = on_signal };
	pid_t child = must_fork();
	char path[100];

	if (child)
		return child;
	sigaction(SIGUSR1, &action, NULL);
	snprintf(path, sizeof(path), MODULE "%s", file);
	_exit(!!checked(spit(path, bytes)));
}

/* Its exit status, once it is awake. */
static int wake_child(pid_t child)
{
	int status = -1;

	kill(child, SIGUSR1);
	return checked(waitpid(child, &status, 0)) == child ? status : -1;
}

/* A child in user mode that has kept a part of what it grew, or does not live. */
static pid_t spinning_child(void)
{
	int ready[2];
	pid_t child;
	char byte;

	if (checked(pipe(ready)))
		exit(1);
	child = must_fork();
	if (!child) {
		for (int i = 0; i < 5; i++)
			checked(spit(MODULE "deep", DEEP));
		checked(write(ready[1], "x", 1));
		for (;;)
			;
	}
	checked(read(ready[0], &byte, 1));
	close(ready[0]);
	close(ready[1]);
	return child;
}

FIXTURE(trim) { };
FIXTURE_SETUP(trim)
{
	if (access(MODULE "nap", W_OK) || access(TRIM, W_OK))
		SKIP(return, "stack_policy_testmod.ko is not loaded");
	ASSERT_OK(spit(TABLE, "default"));
	ASSERT_OK(spit(COLD_SECS, "0"));
}
FIXTURE_TEARDOWN(trim)
{
	spit(TABLE, "default");
	spit(COLD_MS, DEFAULT_COLD_MS);
	/* Of a test that did not get to it. */
	spit(TRACING "current_tracer", "nop");
	spit(CPU1, "1");
}

/* What it grew is gone when the call is over, how deep it went is not. */
TEST_F(trim, excess_leaves_on_the_way_out)
{
	struct stats before = class_stats(TASK), after;
	long trims = 0;

	/* Not if the watcher looks at the thread in that moment, but the next time. */
	for (int tries = 0; tries < 10; tries++) {
		trims = number(MINE, "trims_excess");
		ASSERT_OK(spit(MODULE "deep", DEEP));
		ASSERT_LE(28, atol(slurp(MODULE "deep")));
		if (number(MINE, "mapped_kb") == 12)
			break;
		sleep(2);
	}
	ASSERT_EQ(12, number(MINE, "mapped_kb"));
	ASSERT_EQ(3, pages_of(syscall(SYS_gettid)));
	ASSERT_EQ(trims + 1, number(MINE, "trims_excess"));
	ASSERT_LE(27000, number(MINE, "high_water_bytes"));
	/* Retained, and then freed. */
	ASSERT_TRUE(wait_until((after = class_stats(TASK),
				after.reclaimed_kb >= before.reclaimed_kb + 16 &&
				!after.retained_kb)));
	ASSERT_LE(before.trims_excess + 1, after.trims_excess);
	ASSERT_LE(27000, number(MINE, "high_water_bytes"));
}

/* Whether it asked for it or not. */
TEST_F(trim, excess_of_an_overflow_leaves_too)
{
	expect_overflow("allowed", "test-trim");
	ASSERT_OK(spit(MODULE "recurse", DEEP));
	ASSERT_LE(28, atol(slurp(MODULE "recurse")));
	ASSERT_EQ(12, wait_for(getpid(), "mapped_kb", 12));
	ASSERT_LE(1, number(MINE, "trims_excess"));
}

/* Deep in every call: trimmed once a second, and not in each of them. */
TEST_F(trim, who_grows_often_keeps_it_for_a_while)
{
	double start = seconds();
	int kept = 0, calls;

	for (calls = 0; calls < 2000; calls++) {
		ASSERT_OK(spit(MODULE "deep", DEEP));
		kept += number(MINE, "mapped_kb") > 12;
	}
	ASSERT_GE(2 + seconds() - start, number(MINE, "trims_excess"));
	ASSERT_LE(1, number(MINE, "trims_excess"));
	ASSERT_LE(calls - number(MINE, "trims_excess") - 1, kept);
	ASSERT_GE(number(MINE, "trims_excess") + 1, number(MINE, "grows_ensure"));
}

/* What that has left: the watcher comes for it, even if the thread never calls again. */
TEST_F(trim, excess_does_not_stay)
{
	pid_t spins = spinning_child();

	EXPECT_EQ(12, wait_for(spins, "mapped_kb", 12));
	EXPECT_LE(1, of_thread(spins, "trims_excess"));
	EXPECT_EQ(0, of_thread(spins, "trims_cold"));
	reap(spins);
}

/* Nor where nobody goes cold, and so nobody is looked at for that. */
TEST_F(trim, excess_does_not_stay_with_who_keeps_the_rest)
{
	pid_t spins;

	ASSERT_OK(spit(TABLE, "task=12/32/keep"));
	spins = spinning_child();
	EXPECT_EQ(12, wait_for(spins, "mapped_kb", 12));
	EXPECT_LE(1, of_thread(spins, "trims_excess"));
	reap(spins);
}

/* Asked for before it went to sleep, trimmed, and there when it woke up. */
TEST_F(trim, what_was_asked_for_outlasts_a_sleep)
{
	struct stats before = class_stats(TASK), after;
	pid_t child = blocked_child("later", DEEP);

	EXPECT_TRUE(trim_child(child));
	EXPECT_GE(8, of_thread(child, "mapped_kb"));
	/* There must be something for it to get. */
	EXPECT_TRUE(wait_for_full_reserves());
	EXPECT_EQ(0, wake_child(child));
	EXPECT_LE(28, atol(slurp(MODULE "later")));
	after = class_stats(TASK);
	EXPECT_LE(before.replaced_kb + before.restored_kb + 20,
		  after.replaced_kb + after.restored_kb);
	EXPECT_EQ(before.grows_fault, after.grows_fault);
}

/* Threads that sleep for cold_secs, and the memory they are left with. */
TEST_F(trim, sleepers_go_cold_and_come_back)
{
	static pthread_t threads[500];
	struct stats before, cold, after;
	long kb = kernel_stack_kb(), with;
	int ends[2];

	/* The others that sleep are cold, and add nothing. */
	ASSERT_OK(spit(TRIM, "1"));
	before = class_stats(TASK);
	ASSERT_OK(start_sleepers(threads, 500, ends));
	with = kernel_stack_kb();
	EXPECT_LE(kb + 500 * 12 - 1024, with);
	ASSERT_OK(spit(COLD_SECS, "1"));
	EXPECT_TRUE(wait_until((cold = class_stats(TASK),
				cold.trims_cold - before.trims_cold >= 500 &&
				!cold.retained_kb)));
	EXPECT_LE(500 * 8, cold.reclaimed_kb - before.reclaimed_kb);
	EXPECT_GE(kb + 500 * 4 + 1024, kernel_stack_kb());
	stop_sleepers(threads, 500, ends);
	after = class_stats(TASK);
	/* Each of them has run again. */
	EXPECT_LE(500 * 8, after.restored_kb + after.replaced_kb -
		  cold.restored_kb - cold.replaced_kb);
	EXPECT_EQ(cold.grows_fault, after.grows_fault);
	TH_LOG("500 woken: %llu kB their own, %llu kB others, %llu started late",
	       after.restored_kb - cold.restored_kb, after.replaced_kb - cold.replaced_kb,
	       after.late_starts - cold.late_starts);
}

static void be_plain(void)
{
}

static void be_real_time(void)
{
	struct sched_param param = { .sched_priority = 1 };

	checked(sched_setscheduler(0, SCHED_FIFO, &param));
}

static void be_batch(void)
{
	struct sched_param param = { };

	checked(sched_setscheduler(0, SCHED_BATCH, &param));
}

static void lock_memory(void)
{
	static char page[4096];

	checked(mlock(page, sizeof(page)));
}

static void flush_io(void)
{
	checked(prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0));
}

/* Its parent waits for a child of its own in a sleep that only a deadly signal ends. */
static void wait_for_vfork(void)
{
	pid_t child = vfork();

	if (!child) {
		pause();
		_exit(0);
	}
}

static void stop_itself(void)
{
	raise(SIGSTOP);
}

#define FROZEN	CGROUP "who_goes_cold/"

static void freeze(void)
{
	checked(spit(FROZEN "cgroup.procs", "0"));
	checked(spit(FROZEN "cgroup.freeze", "1"));
}

static const struct {
	const char	*name, *state;
	void		(*become)(void);
	bool		cold;		/* if it sleeps for long */
} sleepers[] = {
	{ "plain",		"State:\tS",	be_plain,	true },
	{ "batch",		"State:\tS",	be_batch,	true },
	{ "real-time",		"State:\tS",	be_real_time,	false },
	{ "with locked memory",	"State:\tS",	lock_memory,	false },
	{ "an IO flusher",	"State:\tS",	flush_io,	false },
	{ "in vfork()",		"State:\tD",	wait_for_vfork,	false },
	{ "stopped",		"State:\tT",	stop_itself,	false },
	{ "frozen",		"State:\tS",	freeze,		false },
};
#define NR_SLEEPERS	(sizeof(sleepers) / sizeof(*sleepers))

/* Only from one whose waiting harms nobody else is something taken in its sleep. */
TEST_F(trim, who_goes_cold)
{
	pid_t children[NR_SLEEPERS];

	ASSERT_OK(mkdir(FROZEN, 0755));
	for (unsigned int i = 0; i < NR_SLEEPERS; i++) {
		children[i] = must_fork();
		if (!children[i]) {
			setpgid(0, 0);
			sleepers[i].become();
			for (;;)
				pause();
		}
		EXPECT_TRUE(in_state(children[i], sleepers[i].state)) TH_LOG("%s",
									     sleepers[i].name);
	}
	EXPECT_TRUE(wait_until(strstr(slurp(FROZEN "cgroup.events"), "frozen 1")));
	/* The last of them has been visited when the first has, in some round. */
	EXPECT_TRUE(trim_child(children[0]));
	EXPECT_TRUE(trim_child(children[1]));
	for (unsigned int i = 0; i < NR_SLEEPERS; i++) {
		EXPECT_OK(spit(TRIM, "1"));
		EXPECT_EQ(sleepers[i].cold, of_thread(children[i], "trims_cold") > 0)
			TH_LOG("%s", sleepers[i].name);
		kill(-children[i], SIGKILL);
		reap(children[i]);
	}
	EXPECT_OK(remove_group(FROZEN));
}

/* Kernel threads, and io_uring's, which are threads of the process that asked for them. */
TEST_F(trim, workers_never_go_cold)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 1 };
	struct stats kthreads = class_stats(KTHREAD), workers = class_stats(USER_WORKER);
	int ring = checked(syscall(SYS_io_uring_setup, 1, &params));
	pid_t child = sleeping_child();

	ASSERT_LE(0, ring);
	EXPECT_TRUE(asleep(child));
	/* Its thread sleeps as well some milliseconds after that. */
	EXPECT_LT(workers.threads, class_stats(USER_WORKER).threads);
	sleep(1);
	EXPECT_TRUE(trim_child(child));
	EXPECT_EQ(kthreads.trims_cold, class_stats(KTHREAD).trims_cold);
	EXPECT_EQ(workers.trims_cold, class_stats(USER_WORKER).trims_cold);
	reap(child);
	close(ring);
}

/* Up to the page that it is on. */
TEST_F(trim, deep_sleepers_keep_what_they_use)
{
	/* Asks for a page more than it is going to use, so that there is one to trim. */
	pid_t child = blocked_child("hold", "18000");
	long mapped;

	EXPECT_TRUE(trim_child(child));
	mapped = of_thread(child, "mapped_kb");
	EXPECT_LE(20, mapped);
	EXPECT_GE(24, mapped);
	/* Its frames are what they were. */
	EXPECT_EQ(0, wake_child(child));
}

/* Threads from before the reserve: those with a lower pid than who fills it. */
static int early_threads(bool full)
{
	char path[64];
	int nr = 0;

	for (pid_t pid = 1; pid < 1000; pid++) {
		long populate, grown;

		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		if (access(path, R_OK))
			continue;
		if (!strcmp(slurp(path), "kstack_refill\n"))
			break;
		/* It may be gone. What it has grown since is its own. */
		populate = of_thread(pid, "populate_kb");
		grown = of_thread(pid, "grows_fault") + of_thread(pid, "grows_ensure");
		if (populate > 0 && (populate != 12 ||
				     (!grown && of_thread(pid, "mapped_kb") > 12)) == full)
			nr++;
	}
	return nr;
}

/* kthreadd is one of them, and the first user thread, which runs before the others. */
TEST_F(trim, threads_from_before_the_reserve_are_like_others)
{
	ASSERT_EQ(0, early_threads(true));
	ASSERT_LE(5, early_threads(false));
	ASSERT_EQ(32, of_thread(2, "limit_kb"));
}

TEST_F(trim, permanent_stacks_stay)
{
	ASSERT_OK(spit(TABLE, "task=24/24"));
	pid_t child = sleeping_child();

	EXPECT_TRUE(asleep(child));
	EXPECT_OK(spit(TRIM, "1"));
	EXPECT_EQ(24, of_thread(child, "mapped_kb"));
	EXPECT_EQ(0, of_thread(child, "trims_cold"));
	reap(child);
	EXPECT_EQ(0, class_stats(KTHREAD_BIG).trims_cold);
	EXPECT_EQ(0, class_stats(KVM_VCPU).trims_cold);
}

/* Whatever the sizes are, if the table says so. */
TEST_F(trim, the_table_says_who_is_trimmed)
{
	pid_t trims, keeps;

	ASSERT_OK(spit(TABLE, "task=16/16/trim"));
	trims = sleeping_child();
	ASSERT_OK(spit(TABLE, "task=12/32/keep"));
	keeps = sleeping_child();
	EXPECT_TRUE(asleep(keeps));
	EXPECT_TRUE(trim_child(trims));
	EXPECT_OK(spit(TRIM, "1"));
	EXPECT_EQ(4, of_thread(trims, "mapped_kb"));
	EXPECT_EQ(12, of_thread(keeps, "mapped_kb"));
	EXPECT_EQ(0, of_thread(keeps, "trims_cold"));
	kill(trims, SIGCONT);
	EXPECT_TRUE(asleep(trims));
	reap(trims);
	reap(keeps);
}

TEST_F(trim, off_means_off)
{
	pid_t child = sleeping_child(), spins;
	unsigned long long before = class_stats(KTHREAD).trims_cold;

	ASSERT_EQ(0, atol(slurp(COLD_SECS)));
	EXPECT_TRUE(asleep(child));
	/* Each is trimmed by the watcher, which came by the sleeper too. */
	for (int i = 0; i < 2; i++) {
		spins = spinning_child();
		EXPECT_EQ(12, wait_for(spins, "mapped_kb", 12));
		reap(spins);
	}
	EXPECT_EQ(12, of_thread(child, "mapped_kb"));
	EXPECT_EQ(before, class_stats(KTHREAD).trims_cold);
	reap(child);
}

TEST_F(trim, cold_secs_takes_seconds)
{
	static const char * const bad[] = { "-1", "86401", "x", "4294967296" };

	for (int i = 0; i < 4; i++) {
		ASSERT_GT(0, spit(COLD_SECS, bad[i])) TH_LOG("\"%s\"", bad[i]);
		ASSERT_EQ(0, atol(slurp(COLD_SECS)));
	}
	ASSERT_OK(spit(COLD_SECS, "86400"));
	ASSERT_EQ(86400, atol(slurp(COLD_SECS)));
	ASSERT_EQ(86400000, atol(slurp(COLD_MS)));
}

/* What is less than a second is not none of it. */
TEST_F(trim, cold_ms_takes_milliseconds)
{
	static const char * const bad[] = { "-1", "86400001", "x", "4294967296", "0.5" };

	for (int i = 0; i < 5; i++) {
		ASSERT_GT(0, spit(COLD_MS, bad[i])) TH_LOG("\"%s\"", bad[i]);
		ASSERT_EQ(0, atol(slurp(COLD_MS)));
	}
	ASSERT_OK(spit(COLD_MS, "86400000"));
	ASSERT_EQ(86400000, atol(slurp(COLD_MS)));
	ASSERT_OK(spit(COLD_MS, "1"));
	ASSERT_EQ(1, atol(slurp(COLD_SECS)));
	ASSERT_OK(spit(COLD_MS, "1001"));
	ASSERT_EQ(2, atol(slurp(COLD_SECS)));
	ASSERT_OK(spit(COLD_SECS, "3"));
	ASSERT_EQ(3000, atol(slurp(COLD_MS)));
}

/* Who is woken again and again keeps what it has, beside one who sleeps. */
TEST_F(trim, who_is_busy_is_left_alone)
{
	pid_t busy = must_fork(), sleeps;

	if (!busy) {
		for (;;)
			usleep(10000);
	}
	sleeps = sleeping_child();
	ASSERT_OK(spit(COLD_MS, "2000"));
	EXPECT_TRUE(wait_until(of_thread(sleeps, "trims_cold") > 0));
	/* Once more, from the start. */
	kill(sleeps, SIGSTOP);
	kill(sleeps, SIGCONT);
	EXPECT_TRUE(wait_until(of_thread(sleeps, "trims_cold") > 1));
	EXPECT_EQ(0, of_thread(busy, "trims_cold"));
	reap(busy);
	reap(sleeps);
}

/* Lines of the trace about @event, recorded in @comm. */
static int traced_in(const char *comm, const char *event)
{
	FILE *f = fopen(TRACING "trace", "r");
	char line[1024];
	int n = 0;

	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, comm) && strstr(line, event);
	if (f)
		fclose(f);
	return n;
}

/* Under memory pressure what is retained goes at once: in the one who asks. */
TEST_F(trim, the_shrinker_frees_what_is_retained)
{
	int tries;

	ASSERT_OK(clear_trace());
	ASSERT_OK(spit(TRACING "events/stack_policy/stack_reclaim/enable", "1"));
	for (tries = 0; tries < 50 && !traced_in("shrinks", "stack_reclaim:"); tries++) {
		pid_t child = must_fork();

		if (!child) {
			checked(prctl(PR_SET_NAME, "shrinks"));
			checked(spit(MODULE "deep", DEEP));
			_exit(!!checked(spit("/proc/sys/vm/drop_caches", "2")));
		}
		waitpid(child, NULL, 0);
	}
	EXPECT_OK(spit(TRACING "events/stack_policy/enable", "0"));
	ASSERT_GT(50, tries);
}

/* What was freed is charged to nobody. */
TEST_F(trim, uncharged_when_freed)
{
	static pthread_t threads[200];
	pid_t child;
	int status;

	spit(CGROUP "cgroup.subtree_control", "+memory");
	ASSERT_OK(mkdir(GROUP, 0755));
	child = must_fork();
	if (!child) {
		const char *stat = GROUP "memory.stat";
		int ends[2], ok;

		if (checked(spit(GROUP "cgroup.procs", "0")) ||
		    start_sleepers(threads, 200, ends))
			_exit(1);
		ok = wait_until(number(stat, "kernel_stack") >= 200 * 12288);
		ok &= wait_until(!checked(spit(TRIM, "1")) &&
				 number(stat, "kernel_stack") <= 200 * 4096 + 12288 + 4096);
		stop_sleepers(threads, 200, ends);
		_exit(!ok);
	}
	ASSERT_OK(waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_OK(remove_group(GROUP));
}

/* Did the last walk meet all threads, a deep one among them? */
static bool counted_all(unsigned long long *deep, unsigned long long *deepest)
{
	struct stats s = class_stats(TASK);
	unsigned long long depth = 0, high = 0;

	*deep = 0;
	*deepest = 0;
	for (int i = 0; i < 32; i++) {
		depth += s.depth_kb[i];
		high += s.high_water_kb[i];
		if (i >= 19) {
			*deep += s.depth_kb[i];
			*deepest += s.high_water_kb[i];
		}
	}
	return *deep && depth == s.threads && high == depth;
}

/* How deep the living are: as many as there are threads. Counted when somebody asks. */
TEST_F(trim, depths_of_living_threads)
{
	pid_t child = blocked_child("hold", "20000");
	unsigned long long deep, deepest;

	EXPECT_TRUE(wait_until(class_stats(TASK).depths_age_ms < 1000));
	sleep(2);
	EXPECT_LT(1000, class_stats(TASK).depths_age_ms);
	EXPECT_TRUE(wait_until(class_stats(TASK).depths_age_ms < 1000));
	EXPECT_TRUE(wait_until(counted_all(&deep, &deepest)));
	EXPECT_LE(1, deep);
	EXPECT_LE(deep, deepest);
	reap(child);
}

TEST_F(trim, tracepoints)
{
	pid_t child;

	if (access(TRACING "events/stack_policy", X_OK))
		SKIP(return, "no tracefs");
	ASSERT_OK(clear_trace());
	ASSERT_OK(spit(TRACING "events/stack_policy/stack_trim/enable", "1"));
	ASSERT_OK(spit(TRACING "events/stack_policy/stack_reclaim/enable", "1"));
	child = must_fork();
	if (!child) {
		checked(spit(MODULE "deep", DEEP));
		for (;;)
			pause();
	}
	EXPECT_TRUE(trim_child(child));
	reap(child);
	EXPECT_OK(spit(TRACING "events/stack_policy/enable", "0"));
	EXPECT_LE(1, traced("class=task what=excess bytes="));
	EXPECT_LE(1, traced("class=task what=cold bytes=8192 mapped=4096"));
	EXPECT_LE(1, traced("stack_reclaim: stacks="));
}

#define KUNIT	"/sys/kernel/debug/kunit/stack_policy_trim/"

/* With a tracer that needs stack in each function of the switch. */
TEST_F(trim, switch_under_the_function_tracer)
{
	static const char * const tracers[] = { "function", "nop" };

	if (access(KUNIT "run", W_OK) || access(TRACING "current_tracer", W_OK))
		SKIP(return, "no KUnit tests, or no tracefs");
	for (int i = 0; i < 2; i++) {
		ASSERT_OK(spit(TRACING "current_tracer", tracers[i])) TH_LOG("%s", tracers[i]);
		ASSERT_OK(spit(KUNIT "run", "1"));
		EXPECT_NE(NULL, strstr(slurp(KUNIT "results"), " ok "));
		EXPECT_EQ(NULL, strstr(slurp(KUNIT "results"), "not ok"));
	}
}

/*
 * Everything at once. Threads of one process, so that they share the
 * translations that a CPU has: deep frames with a pattern, sleeps in there,
 * from CPU to CPU, all woken together; everybody trimmed and the memory
 * reclaimed all the time; readers of their files; threads that come and go.
 */
#define NR_DIVERS	48
#define MIN_DIVES	1000
#define MIN_TRIMS	100

struct stress {
	volatile int stop;
	volatile long dives, wrong, trims;
	pthread_mutex_t lock;
	pthread_cond_t all;
};

static void change_cpu(unsigned int *seed)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(rand_r(seed) % sysconf(_SC_NPROCESSORS_ONLN), &set);
	/* A CPU that is going offline is none to be on. */
	sched_setaffinity(0, sizeof(set), &set);
}

/* Dive, and sometimes wait for the others. */
static void *diver(void *data)
{
	static _Atomic unsigned int seeds;
	unsigned int seed = ++seeds;
	struct stress *s = data;

	while (!s->stop) {
		int depth = 6000 + rand_r(&seed) % 20000;

		change_cpu(&seed);
		if (checked(spit_number(MODULE "nap", depth)))
			__atomic_add_fetch(&s->wrong, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&s->dives, 1, __ATOMIC_RELAXED);
		if (rand_r(&seed) % 4)
			continue;
		pthread_mutex_lock(&s->lock);
		if (!s->stop)
			pthread_cond_wait(&s->all, &s->lock);
		pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}

static void *waker(void *data)
{
	struct stress *s = data;

	while (!s->stop) {
		usleep(20 * 1000);
		pthread_mutex_lock(&s->lock);
		pthread_cond_broadcast(&s->all);
		pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}

static void *trimmer(void *data)
{
	struct stress *s = data;

	while (!s->stop) {
		checked(spit(TRIM, "1"));
		s->trims++;
		if (s->trims % 16 == 0)
			spit("/proc/sys/vm/drop_caches", "2");
	}
	return NULL;
}

static void *reader(void *data)
{
	struct stress *s = data;

	while (!s->stop) {
		DIR *dir = opendir("/proc/self/task");
		struct dirent *entry;

		while (dir && (entry = readdir(dir))) {
			char path[300], text[4096];
			int fd;

			snprintf(path, sizeof(path), "/proc/self/task/%s/%s", entry->d_name,
				 rand() % 2 ? "stack" : "stack_policy");
			fd = open(path, O_RDONLY);
			if (fd >= 0 && read(fd, text, sizeof(text)) < 0 && errno != ESRCH) {
				fprintf(stderr, "# %s: %s\n", path, strerror(errno));
				__atomic_add_fetch(&s->wrong, 1, __ATOMIC_RELAXED);
			}
			close(fd);
		}
		if (dir)
			closedir(dir);
		usleep(1000);
	}
	return NULL;
}

/*
 * For so long, and until so many dives and trims of sleepers say that it was a stress:
 * a slow host takes longer for them. Return: dives, or -1 if something was not as it
 * has to be.
 */
static long stress(int secs)
{
	void *(* const others[])(void *data) = { waker, trimmer, reader };
	struct stress s = { .lock = PTHREAD_MUTEX_INITIALIZER, .all = PTHREAD_COND_INITIALIZER };
	pthread_t divers[NR_DIVERS], other[3];
	unsigned long long trims = class_stats(TASK).trims_cold + MIN_TRIMS;
	double end = seconds() + secs;

	for (int i = 0; i < 3; i++)
		if (checked(-pthread_create(&other[i], NULL, others[i], &s)))
			return -1;
	for (int i = 0; i < NR_DIVERS; i++)
		if (checked(-pthread_create(&divers[i], NULL, diver, &s)))
			return -1;
	while (!s.wrong && (seconds() < end || s.dives < MIN_DIVES ||
			    class_stats(TASK).trims_cold < trims)) {
		pid_t child = must_fork();
		int status = -1;

		/* Exit with retained pages, and a stack for the next one. */
		if (!child)
			_exit(!!checked(spit(MODULE "nap", "24000")));
		checked(waitpid(child, &status, 0));
		if (status)
			__atomic_add_fetch(&s.wrong, 1, __ATOMIC_RELAXED);
	}
	s.stop = 1;
	pthread_mutex_lock(&s.lock);
	pthread_cond_broadcast(&s.all);
	pthread_mutex_unlock(&s.lock);
	for (int i = 0; i < NR_DIVERS; i++)
		pthread_join(divers[i], NULL);
	for (int i = 0; i < 3; i++)
		pthread_join(other[i], NULL);
	return s.wrong ? -1 : s.dives;
}

TEST_F(trim, migrate_sleep_wake_and_reclaim_at_once)
{
	struct stats before = class_stats(TASK), after;
	long dives;

	ASSERT_OK(spit(COLD_SECS, "1"));
	dives = stress(10);
	after = class_stats(TASK);
	ASSERT_LE(MIN_DIVES, dives);
	TH_LOG("%ld dives, %llu and %llu trims, %llu kB freed, %llu kB taken back", dives,
	       after.trims_excess - before.trims_excess, after.trims_cold - before.trims_cold,
	       after.reclaimed_kb - before.reclaimed_kb, after.restored_kb - before.restored_kb);
	ASSERT_LE(MIN_TRIMS, after.trims_cold - before.trims_cold);
	/* Who asks for what he needs does not overflow, trimmed or not. */
	ASSERT_EQ(before.grows_fault, after.grows_fault);
}

TEST_F(trim, cpu_hotplug_while_trimming)
{
	pid_t child;
	int status;

	if (access(CPU1, W_OK))
		SKIP(return, "one CPU, or no CPU hotplug");
	child = must_fork();
	if (!child)
		_exit(stress(6) <= 0);
	while (!waitpid(child, &status, WNOHANG)) {
		EXPECT_OK(spit(CPU1, "0"));
		EXPECT_OK(spit(CPU1, "1"));
	}
	ASSERT_EQ(0, status);
}

int main(int argc, char **argv)
{
	long dives;

	if (argc != 3 || strcmp(argv[1], "stress"))
		return test_harness_run(argc, argv);
	dives = stress(atoi(argv[2]));
	printf("dives: %ld\n", dives);
	return dives <= 0;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * What "make bench" runs on the stock kernel and on ours: lines of a name and a
 * number. The time stamp counter counts instructions there; memory is in bytes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "util.h"

#define ROUNDS		301
#define FAULTS		256
#define SLEEPS		31
#define NR_IDLE		10000
#define DEEP		"20000"

static int compare(const void *a, const void *b)
{
	const unsigned long long *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The median: a timer tick that falls into a round does not move it. */
static unsigned long long median(unsigned long long *values, int nr)
{
	qsort(values, nr, sizeof(*values), compare);
	return values[nr / 2];
}

static void show(const char *name, double value)
{
	printf("%s %.0f\n", name, value);
	fflush(stdout);
}

/*
 * @fn does @ops operations. The least of all rounds: timer ticks and the
 * scheduler's averages make some of them longer, on both kernels alike, and so
 * often that the median is now this and now that.
 */
static void measure(const char *name, int ops, void (*fn)(int ops))
{
	unsigned long long least = -1;

	for (int i = 0; i < ROUNDS; i++) {
		unsigned long long start = __rdtsc(), ticks;

		fn(ops);
		ticks = __rdtsc() - start;
		if (ticks < least)
			least = ticks;
	}
	show(name, (double)least / ops);
}

static void null_calls(int ops)
{
	for (int i = 0; i < ops; i++)
		syscall(SYS_getppid);
}

static char *fresh;

static void touch_pages(int ops)
{
	madvise(fresh, ops * 4096, MADV_DONTNEED);
	for (int i = 0; i < ops; i++)
		fresh[i * 4096] = 1;
}

static int there[2], back[2];

static void *echo(void *arg)
{
	char byte;

	while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1)
		;
	return NULL;
}

/* Two switches each. */
static void ping_pong(int ops)
{
	char byte = 0;

	for (int i = 0; i < ops; i++) {
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			exit(1);
	}
}

/* The same when the other side has slept for so long that it is cold. */
static void after_long_sleep(void)
{
	unsigned long long ticks[SLEEPS];

	for (int i = 0; i < SLEEPS; i++) {
		unsigned long long start;

		sleep(15);
		start = __rdtsc();
		ping_pong(1);
		ticks[i] = __rdtsc() - start;
	}
	show("round_trip_after_15_s", median(ticks, SLEEPS));
}

static void open_pipes(void)
{
	if (pipe(there) || pipe(back))
		exit(1);
}

static void hot_paths(void)
{
	pthread_t thread;
	pid_t child;

	measure("null_syscall", 20, null_calls);

	fresh = mmap(NULL, FAULTS * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0);
	measure("page_fault", FAULTS, touch_pages);

	open_pipes();
	child = fork();
	if (!child) {
		close(there[1]);
		echo(NULL);
		_exit(0);
	}
	measure("pipe_round_trip_process", 4, ping_pong);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);

	open_pipes();
	pthread_create(&thread, NULL, echo, NULL);
	measure("pipe_round_trip_thread", 4, ping_pong);
	after_long_sleep();
	close(there[1]);
	pthread_join(thread, NULL);
}

/* Ten thousand threads that wait in five ways. */
static int gate[2], gate_epoll, gate_futex;
static volatile int started, woken;

static void *idler(void *arg)
{
	struct pollfd poll_gate = { .fd = gate[0], .events = POLLIN };
	struct timespec forever = { .tv_sec = 1 << 30 };
	struct epoll_event event;
	char byte;

	__atomic_add_fetch(&started, 1, __ATOMIC_RELAXED);
	switch ((long)arg % 5) {
	case 0:
		syscall(SYS_futex, &gate_futex, 0, 0, NULL, NULL, 0);
		break;
	case 1:
		epoll_wait(gate_epoll, &event, 1, -1);
		break;
	case 2:	/* Until a signal comes. */
		nanosleep(&forever, NULL);
		break;
	case 3:
		if (read(gate[0], &byte, 1) < 0)
			exit(1);
		break;
	case 4:
		poll(&poll_gate, 1, -1);
		break;
	}
	__atomic_add_fetch(&woken, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void on_signal(int sig)
{
}

static long meminfo(const char *key)
{
	return number("/proc/meminfo", key) * 1024;
}

/* Bytes in the slab cache @name, 0 if it has none of its own. */
static long slab(const char *name)
{
	char line[64];
	const char *at;
	long active, all, size;

	snprintf(line, sizeof(line), "\n%s ", name);
	at = strstr(slurp("/proc/slabinfo"), line);
	if (!at || sscanf(at + strlen(line), "%ld %ld %ld", &active, &all, &size) != 3)
		return 0;
	return all * size;
}

struct memory {
	long stacks, available, structs;
};

static struct memory memory(void)
{
	return (struct memory) {
		.stacks = meminfo("KernelStack"),
		.available = meminfo("MemAvailable"),
		.structs = slab("kstack") + slab("vmap_area"),
	};
}

static void show_memory(const char *when, struct memory before)
{
	struct memory now = memory();
	char name[64];

	snprintf(name, sizeof(name), "idle_%s_stack", when);
	show(name, (now.stacks - before.stacks) / (double)NR_IDLE);
	snprintf(name, sizeof(name), "idle_%s_struct", when);
	show(name, (now.structs - before.structs) / (double)NR_IDLE);
	snprintf(name, sizeof(name), "idle_%s_all", when);
	show(name, (before.available - now.available) / (double)NR_IDLE);
}

static void start_idlers(pthread_t *threads)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct sigaction action = { .sa_handler = on_signal };
	pthread_attr_t attr;

	sigaction(SIGUSR1, &action, NULL);
	if (pipe(gate))
		exit(1);
	gate_epoll = epoll_create1(0);
	epoll_ctl(gate_epoll, EPOLL_CTL_ADD, gate[0], &event);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 16384);
	for (long i = 0; i < NR_IDLE; i++)
		if (pthread_create(&threads[i], &attr, idler, (void *)i))
			exit(1);
	while (started < NR_IDLE)
		usleep(1000);
	usleep(100 * 1000);
}

/* Instructions until the last of them has gone. */
static void wake_idlers(pthread_t *threads)
{
	struct stats before = class_stats(TASK), after;
	unsigned long long start = __rdtsc();

	gate_futex = 1;
	syscall(SYS_futex, &gate_futex, 1, INT_MAX, NULL, NULL, 0);
	close(gate[1]);
	for (int i = 2; i < NR_IDLE; i += 5)
		pthread_kill(threads[i], SIGUSR1);
	for (int i = 0; i < NR_IDLE; i++)
		pthread_join(threads[i], NULL);
	show("wake_and_exit", (double)(__rdtsc() - start) / NR_IDLE);
	show("woken", woken);
	after = class_stats(TASK);
	show("woken_short", after.short_switch - before.short_switch);
	show("woken_overflow", after.grows_fault - before.grows_fault);
}

/* What the walk takes for a thread: from the trace of its work items. */
static void show_walk(void)
{
	static char line[512];
	double start = 0, sum = 0;
	FILE *f;

	clear_trace();
	spit(TRACING "trace_clock", "x86-tsc");
	spit(TRACING "events/workqueue/workqueue_execute_start/enable", "1");
	spit(TRACING "events/workqueue/workqueue_execute_end/enable", "1");
	sleep(6);
	spit(TRACING "events/workqueue/enable", "0");
	f = fopen(TRACING "trace", "r");
	while (f && fgets(line, sizeof(line), f)) {
		const char *at = strstr(line, ": workqueue_execute_");
		const char *stamp = at;

		if (!at || !strstr(line, "stack_policy_walk_fn"))
			continue;
		while (stamp > line && stamp[-1] != ' ')
			stamp--;
		if (strstr(at, "start"))
			start = atof(stamp);
		else if (start)
			sum += atof(stamp) - start;
	}
	if (f)
		fclose(f);
	show("walk_per_second", sum / 6);
}

static void idle(void)
{
	static pthread_t threads[NR_IDLE];
	struct memory before = memory();

	start_idlers(threads);
	show_memory("new", before);
	/* All of them have slept for ten seconds, and were visited after that. */
	sleep(25);
	show_memory("cold", before);
	show_walk();
	wake_idlers(threads);
}

/* A call that needs 20 kB: the first, the next, and all that come soon after. */
static void deep(void)
{
	static unsigned long long ticks[ROUNDS];
	struct stats before, after;
	double start;

	if (access(MODULE "deep", W_OK))
		return;
	for (int i = 0; i < ROUNDS; i++) {
		unsigned long long at = __rdtsc();

		spit(MODULE "deep", DEEP);
		ticks[i] = __rdtsc() - at;
	}
	show("deep_call_first", ticks[0]);
	show("deep_call_again", ticks[1]);
	show("deep_call", median(ticks + 2, ROUNDS - 2));
	before = class_stats(TASK);
	clear_trace();
	spit(TRACING "events/stack_policy/stack_reclaim/enable", "1");
	start = __rdtsc();
	for (int i = 0; i < 20 * ROUNDS; i++) {
		spit(MODULE "deep", DEEP);
		usleep(1000);
	}
	after = class_stats(TASK);
	show("deep_calls_in_a_row", 20 * ROUNDS);
	show("deep_trims", after.trims_excess - before.trims_excess);
	show("deep_milliseconds", (__rdtsc() - start) / 1e6);
	show("deep_flushes", traced("stack_reclaim:"));
	spit(TRACING "events/stack_policy/stack_reclaim/enable", "0");
}

int main(void)
{
	hot_paths();
	deep();
	idle();
	return 0;
}

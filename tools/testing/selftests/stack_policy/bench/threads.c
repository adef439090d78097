// SPDX-License-Identifier: GPL-2.0
/*
 * threads N...: so many threads that wait in five ways, what memory they have and what
 * is slower because of them. All figures are for one thread, in bytes or ticks.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../util.h"
#include "bench.h"

#define STACK	16384		/* of user memory, for one */
#define WATCH_S	64		/* each thread is looked at once */

static int gate[2], gate_epoll;
static volatile int gate_futex, started;

static void wait_somehow(long way)
{
	struct pollfd poll_gate = { .fd = gate[0], .events = POLLIN };
	struct timespec forever = { .tv_sec = 1 << 30 };
	struct epoll_event event;
	char byte;

	switch (way) {
	case 0:
		syscall(SYS_futex, &gate_futex, FUTEX_WAIT, 0, NULL, NULL, 0);
		break;
	case 1:
		epoll_wait(gate_epoll, &event, 1, -1);
		break;
	case 2:	/* Until a signal comes. */
		nanosleep(&forever, NULL);
		break;
	case 3:
		must(read(gate[0], &byte, 1) >= 0, "read");
		break;
	case 4:
		poll(&poll_gate, 1, -1);
		break;
	}
}

static void *idler(void *arg)
{
	__atomic_add_fetch(&started, 1, __ATOMIC_RELAXED);
	wait_somehow((long)arg % 5);
	return NULL;
}

static void on_signal(int sig)
{
}

/* Of /proc/meminfo; what is available gets less. */
static const struct {
	const char	*name, *key;
	int		sign;
} figures[] = {
	{ "stack", "KernelStack", 1 }, { "page_tables", "PageTables", 1 }, { "slab", "Slab", 1 },
	{ "available", "MemAvailable", -1 },
};

#define NR_FIGURES	ARRAY_SIZE(figures)

struct memory {
	long figure[NR_FIGURES], structs;
};

static struct memory memory(void)
{
	struct memory m = { .structs = slab("kstack") + slab("vmap_area") };

	for (unsigned int i = 0; i < NR_FIGURES; i++)
		m.figure[i] = meminfo(figures[i].key);
	return m;
}

static void show_for(int nr, const char *what, double value)
{
	char name[128];

	snprintf(name, sizeof(name), "threads_%d_%s", nr, what);
	show(name, value);
}

static void show_memory(int nr, const char *when, const struct memory *before)
{
	struct memory m = memory();
	char name[64];

	for (unsigned int i = 0; i < NR_FIGURES; i++) {
		snprintf(name, sizeof(name), "%s_%s", when, figures[i].name);
		show_for(nr, name, figures[i].sign *
			 (m.figure[i] - before->figure[i]) / (double)nr);
	}
	snprintf(name, sizeof(name), "%s_structs", when);
	show_for(nr, name, (m.structs - before->structs) / (double)nr);
}

static void start(pthread_t *thread, char *stacks, int nr)
{
	struct epoll_event event = { .events = EPOLLIN };
	uint64_t from = now();
	pthread_attr_t attr;

	must(!pipe(gate), "pipe");
	gate_epoll = epoll_create1(0);
	must(!epoll_ctl(gate_epoll, EPOLL_CTL_ADD, gate[0], &event), "epoll");
	gate_futex = 0;
	started = 0;
	for (long i = 0; i < nr; i++) {
		pthread_attr_init(&attr);
		pthread_attr_setstack(&attr, stacks + i * STACK, STACK);
		must(!(errno = pthread_create(&thread[i], &attr, idler, (void *)i)),
		     "pthread_create");
	}
	while (started < nr)
		sched_yield();
	show_for(nr, "create", (double)(now() - from) / nr);
	usleep(100 * 1000);
}

static void end(pthread_t *thread, int nr)
{
	uint64_t from = now();

	gate_futex = 1;
	syscall(SYS_futex, &gate_futex, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	close(gate[1]);
	for (int i = 2; i < nr; i += 5)
		pthread_kill(thread[i], SIGUSR1);
	for (int i = 0; i < nr; i++)
		pthread_join(thread[i], NULL);
	show_for(nr, "end", (double)(now() - from) / nr);
	close(gate[0]);
	close(gate_epoll);
}

static void *nothing(void *arg)
{
	return NULL;
}

static void one_more(int ops)
{
	pthread_t thread;

	for (int i = 0; i < ops; i++) {
		must(!(errno = pthread_create(&thread, NULL, nothing, NULL)), "pthread_create");
		pthread_join(thread, NULL);
	}
}

static void show_speed(int nr)
{
	char name[64];

	start_echo(false);
	snprintf(name, sizeof(name), "threads_%d_pipe_round_trip", nr);
	measure(name, 4, NULL, ping_pong);
	end_echo();
	snprintf(name, sizeof(name), "threads_%d_one_more", nr);
	measure(name, 4, NULL, one_more);
}

/* The time stamp before ": workqueue_execute_" in a line of the trace. */
static double stamp(const char *line, const char *at)
{
	while (at > line && at[-1] != ' ')
		at--;
	return atof(at);
}

/* What looking at the threads takes, in ticks a second: from the trace of its work items. */
static void show_watch(int nr)
{
	static char line[512];
	double from = 0, sum = 0;
	FILE *f;

	if (access(TABLE, F_OK))
		return;
	clear_trace();
	must(!spit(TRACING "trace_clock", "x86-tsc"), "trace_clock");
	must(!spit(TRACING "events/workqueue/workqueue_execute_start/enable", "1") &&
	     !spit(TRACING "events/workqueue/workqueue_execute_end/enable", "1"), "workqueue");
	sleep(WATCH_S);
	must(!spit(TRACING "events/workqueue/enable", "0"), "workqueue");
	f = fopen(TRACING "trace", "r");
	while (f && fgets(line, sizeof(line), f)) {
		const char *at = strstr(line, ": workqueue_execute_");

		if (!at || !strstr(line, "stack_policy_watch_fn"))
			continue;
		if (strstr(at, "start"))
			from = stamp(line, at);
		else if (from)
			sum += stamp(line, at) - from;
	}
	if (f)
		fclose(f);
	show_for(nr, "watch_per_second", sum / WATCH_S);
}

/* All zero on a stock kernel. */
static struct stats task_stats(void)
{
	return access(TABLE, F_OK) ? (struct stats){} : class_stats(TASK);
}

/* By default, or never. */
static void go_cold(bool soon)
{
	static char normal[16];

	if (access(TABLE, F_OK))
		return;
	if (!*normal)
		snprintf(normal, sizeof(normal), "%.15s", slurp(COLD_MS));
	must(!spit(COLD_MS, soon ? normal : "0"), COLD_MS);
}

static void measure_threads(int nr)
{
	char *stacks = mmap(NULL, (size_t)nr * STACK, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	pthread_t *thread = calloc(nr, sizeof(*thread));
	struct stats from = task_stats(), to;
	struct memory before = memory();

	must(stacks != MAP_FAILED && thread, "memory");
	/* Not before they have been measured. */
	go_cold(false);
	start(thread, stacks, nr);
	show_memory(nr, "new", &before);
	show_speed(nr);
	go_cold(true);
	sleep(25);
	show_memory(nr, "cold", &before);
	show_watch(nr);
	end(thread, nr);
	to = task_stats();
	show_for(nr, "late", to.late_starts - from.late_starts);
	show_for(nr, "overflows", to.grows_fault - from.grows_fault);
	free(thread);
	munmap(stacks, (size_t)nr * STACK);
	/* Those before do not count for those that come. */
	sleep(10);
}

void threads(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGUSR1, &action, NULL);
	must(!spit("/proc/sys/kernel/threads-max", "200000"), "threads-max");
	must(!spit("/proc/sys/kernel/pid_max", "200000"), "pid_max");
	for (int i = 0; i < argc; i++) {
		int nr = atoi(argv[i]);

		must(nr > 0, "threads N...");
		measure_threads(nr);
	}
}

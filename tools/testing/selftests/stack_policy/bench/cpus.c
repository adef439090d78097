// SPDX-License-Identifier: GPL-2.0
/*
 * All CPUs at once do what a stack is created, grown or freed for: what one operation
 * takes, and how often one CPU waited for another's lock.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../util.h"
#include "bench.h"

#define MAX_CPUS	64
#define OPS		500
#define MAX_WAITERS	32
#define BUFFER_KB	8192		/* of trace, each CPU */

static int nr_cpus;
static void (*op)(int ops);
static pthread_barrier_t barrier;

static void *worker(void *arg)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((long)arg, &set);
	must(!sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
	pthread_barrier_wait(&barrier);
	op(OPS);
	return NULL;
}

/* Ticks until the last of them is ready: of the CPUs together, as one runs at a time. */
static uint64_t on_all_cpus(void (*fn)(int ops))
{
	pthread_t thread[MAX_CPUS];
	uint64_t from;

	op = fn;
	pthread_barrier_init(&barrier, NULL, nr_cpus + 1);
	for (long i = 0; i < nr_cpus; i++)
		must(!(errno = pthread_create(&thread[i], NULL, worker, (void *)i)),
		     "pthread_create");
	from = now();
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < nr_cpus; i++)
		pthread_join(thread[i], NULL);
	return now() - from;
}

static void *nothing(void *arg)
{
	return NULL;
}

static void lives(int ops)
{
	pthread_t thread;

	for (int i = 0; i < ops; i++) {
		must(!(errno = pthread_create(&thread, NULL, nothing, NULL)), "pthread_create");
		pthread_join(thread, NULL);
	}
}

static void crowds(int ops)
{
	pthread_t thread[10];

	for (int i = 0; i < ops; i += 10) {
		for (int k = 0; k < 10; k++)
			must(!(errno = pthread_create(&thread[k], NULL, nothing, NULL)),
			     "pthread_create");
		for (int k = 0; k < 10; k++)
			pthread_join(thread[k], NULL);
	}
}

static void deep(int ops)
{
	for (int i = 0; i < ops; i++)
		must(!spit(MODULE "deep", "20000"), MODULE "deep");
}

/* Functions that took a lock another CPU had, and how often. */
static struct waiter {
	char	name[64];
	long	times;
} waiters[MAX_WAITERS];

static void count_waiter(const char *name, size_t len)
{
	for (int i = 0; i < MAX_WAITERS; i++) {
		struct waiter *w = &waiters[i];

		if (w->times && (strncmp(w->name, name, len) || w->name[len]))
			continue;
		snprintf(w->name, sizeof(w->name), "%.*s", (int)len, name);
		w->times++;
		return;
	}
	must(false, "more functions that wait for locks than expected");
}

static bool is_lock_function(const char *name)
{
	static const char *const parts[] = {
		"_lock_slowpath", "raw_spin_", "mutex_lock", "rwsem_down", "down_read",
		"down_write", "raw_read_lock", "raw_write_lock", "contention_begin",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(parts); i++)
		if (strstr(name, parts[i]))
			return true;
	return false;
}

/* From a trace with the stack of each event: the first function that is no lock's own. */
static long count_waiters(void)
{
	char line[512], name[64];
	bool searching = false;
	long events = 0, kept, all;
	FILE *f = fopen(TRACING "trace", "r");

	must(f, "trace");
	memset(waiters, 0, sizeof(waiters));
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "# entries-in-buffer/entries-written: %ld/%ld", &kept, &all) == 2)
			must(kept == all, "a buffer for all events");
		if (strstr(line, ": contention_begin:")) {
			events++;
			searching = true;
		}
		if (!searching || sscanf(line, " => %63s", name) != 1 || is_lock_function(name))
			continue;
		count_waiter(name, strcspn(name, "."));
		searching = false;
	}
	fclose(f);
	return events;
}

static void trace_contention(const char *on)
{
	must(!spit(TRACING "options/stacktrace", on), "stacktrace");
	must(!spit(TRACING "events/lock/contention_begin/enable", on), "contention_begin");
}

static void measure_all(const char *what, void (*fn)(int ops))
{
	char name[128];
	uint64_t taken;
	long waits;

	on_all_cpus(fn);
	taken = on_all_cpus(fn);
	snprintf(name, sizeof(name), "cpus_%d_%s", nr_cpus, what);
	show(name, (double)taken / nr_cpus / OPS);
	clear_trace();
	trace_contention("1");
	on_all_cpus(fn);
	trace_contention("0");
	waits = count_waiters();
	snprintf(name, sizeof(name), "cpus_%d_%s_contended", nr_cpus, what);
	show(name, waits);
	for (int i = 0; i < MAX_WAITERS && waiters[i].times; i++) {
		snprintf(name, sizeof(name), "cpus_%d_%s_waits_%s", nr_cpus, what,
			 waiters[i].name);
		show(name, waiters[i].times);
	}
}

void cpus(int argc, char **argv)
{
	nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	must(nr_cpus <= MAX_CPUS, "too many CPUs");
	must(!spit_number(TRACING "buffer_size_kb", BUFFER_KB), "buffer_size_kb");
	measure_all("thread_life", lives);
	measure_all("thread_life_crowd", crowds);
	if (!access(MODULE "deep", W_OK))
		measure_all("deep_call", deep);
}

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

static int nr_cpus;
static void (*op)(int ops);
static pthread_barrier_t barrier;

static void *worker(void *arg)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((long)arg, &set);
	sched_setaffinity(0, sizeof(set), &set);
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
		must(!pthread_create(&thread[i], NULL, worker, (void *)i), "pthread_create");
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
		must(!pthread_create(&thread, NULL, nothing, NULL), "pthread_create");
		pthread_join(thread, NULL);
	}
}

static void crowds(int ops)
{
	pthread_t thread[10];

	for (int i = 0; i < ops; i += 10) {
		for (int k = 0; k < 10; k++)
			must(!pthread_create(&thread[k], NULL, nothing, NULL), "pthread_create");
		for (int k = 0; k < 10; k++)
			pthread_join(thread[k], NULL);
	}
}

static void deep(int ops)
{
	for (int i = 0; i < ops; i++)
		spit(MODULE "deep", "20000");
}

/* Events in the buffers of all CPUs, and those that they had no room for. */
static long events(void)
{
	long sum = 0;

	for (int i = 0; i < nr_cpus; i++) {
		char path[128];

		snprintf(path, sizeof(path), TRACING "per_cpu/cpu%d/stats", i);
		sum += number(path, "entries") + number(path, "overrun");
	}
	return sum;
}

static void measure_all(const char *what, void (*fn)(int ops))
{
	char name[64];
	uint64_t taken;

	on_all_cpus(fn);
	taken = on_all_cpus(fn);
	snprintf(name, sizeof(name), "cpus_%d_%s", nr_cpus, what);
	show(name, (double)taken / nr_cpus / OPS);
	clear_trace();
	spit(TRACING "events/lock/contention_begin/enable", "1");
	on_all_cpus(fn);
	spit(TRACING "events/lock/contention_begin/enable", "0");
	snprintf(name, sizeof(name), "cpus_%d_%s_contended", nr_cpus, what);
	show(name, events());
}

void cpus(int argc, char **argv)
{
	nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	must(nr_cpus <= MAX_CPUS, "too many CPUs");
	measure_all("thread_life", lives);
	measure_all("thread_life_crowd", crowds);
	if (!access(MODULE "deep", W_OK))
		measure_all("deep_call", deep);
}

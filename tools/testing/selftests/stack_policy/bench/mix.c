// SPDX-License-Identifier: GPL-2.0
/*
 * mix: threads of which some wake often, some now and then, many never, as on machines that
 * work. What their stacks take over a minute, with all that belongs to them, and what the
 * machine does for it. On ours with several settings, one after the other.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../util.h"
#include "bench.h"

#define STACK		16384	/* of user memory, for one */
#define SETTLE_S	75	/* until each thread that wakes has done so, and is cold again */
#define WINDOW_S	60
#define MAX_PROCESSES	200
#define RESERVE		"/sys/kernel/debug/stack_policy/reserve"
#define POOL		"/sys/kernel/debug/stack_policy/pool"

/* Per cent of the threads, and the shortest and the longest sleep between two wake-ups. */
struct habit {
	unsigned int	percent, least_ms, most_ms;	/* 0: never wakes */
};

static const struct mix {
	const char	*name;
	unsigned int	processes, threads;	/* of each process */
	struct habit	habit[5];
} mixes[] = {
	/* Of a fleet's machine: two in five never wake, one in ten does each second or sooner. */
	{ "fleet", 60, 50, { { 2, 100, 100 }, { 8, 1000, 1000 }, { 20, 3000, 10000 },
			     { 30, 10000, 60000 }, { 40, 0, 0 } } },
};

static const struct setting {
	const char	*name, *table;
	unsigned int	cold_ms;
} settings[] = {
	{ "10_s", "default", 10000 },
	{ "1_s", "default", 1000 },
	{ "300_ms", "default", 300 },
	{ "100_ms", "default", 100 },
	{ "conservative", "conservative", 100 },
};

static struct timespec ms(unsigned int time)
{
	return (struct timespec){ time / 1000, time % 1000 * 1000000 };
}

static const struct mix *mix;

/* Thread @number of all: its habit, and when in the period it wakes. */
static void *live(void *arg)
{
	unsigned long number = (unsigned long)arg, at = number * 37 % 100, before = 0;
	unsigned int seed = number, period, i;
	struct timespec t;

	for (i = 0; at >= before + mix->habit[i].percent; i++)
		before += mix->habit[i].percent;
	if (!mix->habit[i].most_ms) {
		pause();
		return NULL;
	}
	period = mix->habit[i].least_ms;
	if (mix->habit[i].most_ms > period)
		period += rand_r(&seed) % (mix->habit[i].most_ms - period);
	t = ms(rand_r(&seed) % period);
	for (;;) {
		nanosleep(&t, NULL);
		t = ms(period);
	}
	return NULL;
}

static pid_t start_process(unsigned long first)
{
	char *stacks = mmap(NULL, (size_t)mix->threads * STACK, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	pid_t child = must_fork();

	if (child) {
		munmap(stacks, (size_t)mix->threads * STACK);
		return child;
	}
	must(stacks != MAP_FAILED, "mmap");
	for (unsigned int i = 1; i < mix->threads; i++) {
		pthread_attr_t attr;
		pthread_t thread;

		pthread_attr_init(&attr);
		pthread_attr_setstack(&attr, stacks + i * STACK, STACK);
		must(!(errno = pthread_create(&thread, &attr, live, (void *)(first + i))),
		     "pthread_create");
	}
	live((void *)first);
	_exit(0);
}

/* The sum of all that is written behind @key. */
static long sum_of(const char *path, const char *key)
{
	long sum = 0;

	for (const char *at = slurp(path); (at = strstr(at, key)); at += strlen(key))
		sum += atol(at + strlen(key));
	return sum;
}

/* Of all CPUs, in ns of a clock that counts instructions. */
static uint64_t idle_ns(void)
{
	uint64_t sum = 0;

	for (const char *at = slurp("/proc/timer_list"); (at = strstr(at, ".idle_sleeptime")); at++)
		sum += strtoull(strchr(at, ':') + 1, NULL, 10);
	return sum;
}

static long flushes(void)
{
	return access(TABLE, F_OK) ? 0 : traced("stack_reclaim:");
}

static void show_of(const char *setting, const char *what, double value)
{
	char name[128];

	snprintf(name, sizeof(name), "mix_%s_%s_%s", mix->name, setting, what);
	show(name, value);
}

/* Everything that is there for stacks, in bytes: pages, what waits for others, structures. */
static long all_bytes(long *stack)
{
	*stack = meminfo("KernelStack");
	return *stack + 4096 * (sum_of(RESERVE, "pages=") + sum_of(POOL, "pages=")) +
	       slab("kstack") + slab("vmap_area");
}

static void watch(const char *setting, long stack_before, long all_before)
{
	bool ours = !access(TABLE, R_OK);
	unsigned int threads = mix->processes * mix->threads;
	struct stats before = {}, after = {};
	double stack = 0, all = 0;
	uint64_t from, idle;
	long stack_now, flushed;

	sleep(SETTLE_S);
	if (ours) {
		clear_trace();
		must(!spit(TRACING "events/stack_policy/stack_reclaim/enable", "1"),
		     "stack_reclaim");
		before = class_stats(TASK);
	}
	flushed = flushes();
	from = nanoseconds();
	idle = idle_ns();
	for (int i = 0; i < WINDOW_S; i++) {
		sleep(1);
		all += all_bytes(&stack_now) - all_before;
		stack += stack_now - stack_before;
	}
	from = nanoseconds() - from;
	idle = idle_ns() - idle;
	show_of(setting, "stack", stack / WINDOW_S / threads);
	show_of(setting, "all", all / WINDOW_S / threads);
	show_of(setting, "busy", (double)(from - idle) * 1e9 / from);
	if (!ours)
		return;
	after = class_stats(TASK);
	spit(TRACING "events/stack_policy/stack_reclaim/enable", "0");
	show_of(setting, "trims", (double)(after.trims_cold - before.trims_cold) / WINDOW_S);
	show_of(setting, "flushes", flushes() - flushed);
	show_of(setting, "late", after.late_starts - before.late_starts);
	show_of(setting, "overflows", after.grows_fault - before.grows_fault);
}

static void measure_with(const char *setting, long stack_before, long all_before)
{
	pid_t child[MAX_PROCESSES];

	for (unsigned int i = 0; i < mix->processes; i++)
		child[i] = start_process((unsigned long)i * mix->threads);
	watch(setting, stack_before, all_before);
	for (unsigned int i = 0; i < mix->processes; i++) {
		kill(child[i], SIGKILL);
		waitpid(child[i], NULL, 0);
	}
	/* Those do not count for the next. */
	sleep(5);
}

static void measure_mix(void)
{
	long stack, all = all_bytes(&stack);

	if (access(TABLE, F_OK)) {
		measure_with("stock", stack, all);
		return;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(settings); i++) {
		must(!spit(TABLE, settings[i].table), TABLE);
		must(!spit_number(COLD_MS, settings[i].cold_ms), COLD_MS);
		measure_with(settings[i].name, stack, all);
	}
	must(!spit(TABLE, "default"), TABLE);
}

void mix_of_threads(int argc, char **argv)
{
	must(!spit("/proc/sys/kernel/threads-max", "200000"), "threads-max");
	must(!spit("/proc/sys/kernel/pid_max", "200000"), "pid_max");
	for (unsigned int i = 0; i < ARRAY_SIZE(mixes); i++) {
		mix = &mixes[i];
		must(mix->processes <= MAX_PROCESSES, "too many processes");
		measure_mix();
	}
}

// SPDX-License-Identifier: GPL-2.0
/*
 * stack_policy_bench [--time] PART [ARGUMENT...]: see "make bench". What all parts
 * have in common is here.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "../util.h"
#include "bench.h"

static bool real_time;

void must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

uint64_t nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

uint64_t now(void)
{
	return real_time ? nanoseconds() : __rdtsc();
}

void show(const char *name, double value)
{
	printf("%s %.0f\n", name, value);
	fflush(stdout);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

void measure(const char *name, int ops, void (*prepare)(int ops), void (*fn)(int ops))
{
	uint64_t taken[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start;

		if (prepare)
			prepare(ops);
		start = now();
		fn(ops);
		taken[i] = now() - start;
	}
	qsort(taken, ROUNDS, sizeof(taken[0]), compare);
	show(name, (double)taken[real_time ? ROUNDS / 2 : 0] / ops);
}

/* The module has time stamps. */
static double ns_per_tick(void)
{
	uint64_t tsc = __rdtsc(), ns = nanoseconds();

	usleep(200 * 1000);
	return (double)(nanoseconds() - ns) / (__rdtsc() - tsc);
}

void show_module(const char *file)
{
	double scale = real_time ? ns_per_tick() : 1, value;
	char path[128], name[64];
	FILE *f;

	snprintf(path, sizeof(path), BENCH_MODULE "%s", file);
	f = fopen(path, "r");
	while (f && fscanf(f, "%63s %lf", name, &value) == 2)
		show(name, value * scale);
	if (f)
		fclose(f);
}

/* Two instructions a turn; its clock, if time matters. */
static struct idle_count {
	volatile uint64_t turns;
	volatile uint64_t ns;
} *idle_count;
static pid_t idler;
static uint64_t busy_from;

static void idle_forever(void)
{
	struct sched_param none = {};
	struct timespec t;

	must(!sched_setscheduler(0, SCHED_IDLE, &none), "SCHED_IDLE");
	while (real_time) {
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
		idle_count->ns = t.tv_sec * 1000000000ULL + t.tv_nsec;
	}
	for (;;)
		asm volatile("1: incq %0; jmp 1b" : "+m" (idle_count->turns));
}

static uint64_t idle_ticks(void)
{
	return real_time ? idle_count->ns : 2 * idle_count->turns;
}

void busy_start(void)
{
	idle_count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(idle_count != MAP_FAILED, "mmap");
	idler = fork();
	must(idler >= 0, "fork");
	if (!idler)
		idle_forever();
	/* Until it has begun. */
	usleep(10 * 1000);
	busy_from = now() - idle_ticks();
}

uint64_t busy_end(void)
{
	uint64_t busy;

	/* RCU, work items, whatever is left to others. */
	usleep(200 * 1000);
	busy = now() - idle_ticks() - busy_from;
	kill(idler, SIGKILL);
	waitpid(idler, NULL, 0);
	munmap(idle_count, 4096);
	return busy;
}

static int there[2], back[2];
static pthread_t echo_thread;
static pid_t echo_process;

static void *echo(void *arg)
{
	char byte;

	while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1)
		;
	return NULL;
}

void start_echo(bool process)
{
	must(!pipe(there) && !pipe(back), "pipe");
	echo_process = process ? fork() : 0;
	if (process && !echo_process) {
		close(there[1]);
		echo(NULL);
		_exit(0);
	}
	must(process ? echo_process > 0 : !(errno = pthread_create(&echo_thread, NULL, echo, NULL)),
	     "echo");
}

void ping_pong(int ops)
{
	char byte = 0;

	for (int i = 0; i < ops; i++)
		must(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1, "pipe");
}

void end_echo(void)
{
	close(there[1]);
	if (echo_process)
		waitpid(echo_process, NULL, 0);
	else
		pthread_join(echo_thread, NULL);
	close(there[0]);
	close(back[0]);
	close(back[1]);
}

long slab(const char *name)
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

long meminfo(const char *key)
{
	return number("/proc/meminfo", key) * 1024;
}

static const struct {
	const char	*name;
	void		(*run)(int argc, char **argv);
} parts[] = {
	{ "hot", hot }, { "life", life }, { "growth", growth }, { "kvm", kvm },
	{ "threads", threads }, { "mix", mix_of_threads },
	{ "cpus", cpus }, { "load", load }, { "files", files },
	{ "splits", splits }, { "memory", memory_turns }, { "network", network },
};

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--time")) {
		real_time = true;
		argc--;
		argv++;
	}
	for (unsigned int i = 0; argc > 1 && i < ARRAY_SIZE(parts); i++) {
		if (!strcmp(argv[1], parts[i].name)) {
			parts[i].run(argc - 2, argv + 2);
			return 0;
		}
	}
	fprintf(stderr, "usage: stack_policy_bench [--time] PART [ARGUMENT...], of");
	for (unsigned int i = 0; i < ARRAY_SIZE(parts); i++)
		fprintf(stderr, " %s", parts[i].name);
	fprintf(stderr, "\n");
	return 2;
}

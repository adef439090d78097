// SPDX-License-Identifier: GPL-2.0
/* Lives of threads and processes, from their creation until they are gone. */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../util.h"
#include "bench.h"

#define LIVES	4000
#define WARM_UP	1000
#define CROWD	50		/* more than the caches of stacks hold */
#define STACK	4096

#define THREAD	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | \
		 CLONE_SYSVSEM | CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID)

static _Alignas(16) char stacks[CROWD][STACK];
static volatile int tids[CROWD], gate;

static long futex(volatile int *word, int op, int value)
{
	return syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

static int nothing(void *arg)
{
	return 0;
}

static int wait_at_gate(void *arg)
{
	while (!gate)
		futex(&gate, FUTEX_WAIT, 0);
	return 0;
}

static void start(int i, int (*fn)(void *arg))
{
	int pid = clone(fn, stacks[i] + STACK, THREAD, NULL, &tids[i], NULL, &tids[i]);

	must(pid > 0, "clone");
}

static void join(int i)
{
	int tid;

	while ((tid = tids[i]))
		futex(&tids[i], FUTEX_WAIT, tid);
}

static void thread_life(int nr)
{
	start(0, nothing);
	join(0);
}

/* All are there before the first one ends. */
static void thread_crowd(int nr)
{
	gate = 0;
	for (int i = 0; i < nr; i++)
		start(i, wait_at_gate);
	sched_yield();
	gate = 1;
	futex(&gate, FUTEX_WAKE, INT_MAX);
	for (int i = 0; i < nr; i++)
		join(i);
}

static void vfork_exit(int nr)
{
	pid_t pid = vfork();

	if (!pid)
		_exit(0);
	must(pid > 0 && waitpid(pid, NULL, 0) == pid, "vfork");
}

static void fork_exit(int nr)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	must(pid > 0 && waitpid(pid, NULL, 0) == pid, "fork");
}

static void fork_exec(int nr)
{
	pid_t pid = fork();

	if (!pid) {
		execl("/bin/busybox", "true", NULL);
		perror("/bin/busybox");
		_exit(1);
	}
	must(pid > 0 && waitpid(pid, NULL, 0) == pid, "fork");
}

/* Of the whole machine. */
static long switches(void)
{
	return number("/proc/stat", "ctxt");
}

static void show_switches(const char *name, double of_a_life)
{
	char text[64];

	snprintf(text, sizeof(text), "%s_switches", name);
	show(text, 1000 * of_a_life);
}

/*
 * The mean of many lives, after others: what is freed later by others is in it, for
 * as many threads as there were.
 */
static void show_lives(const char *name, int nr, void (*live)(int nr))
{
	uint64_t from = 0, taken;
	long before = 0;

	for (int i = 0; i < WARM_UP + LIVES; i += nr) {
		if (!from && i >= WARM_UP) {
			before = switches();
			from = now();
		}
		live(nr);
	}
	taken = now() - from;
	show(name, (double)taken / LIVES);
	show_switches(name, (double)(switches() - before) / LIVES);
}

/* As many, after as many others, in the module. */
static void show_module_lives(const char *name)
{
	long before = switches();

	show_module(name);
	show_switches(name, (double)(switches() - before) / (WARM_UP + LIVES));
}

void life(int argc, char **argv)
{
	show_lives("thread_life", 1, thread_life);
	show_lives("thread_life_crowd", CROWD, thread_crowd);
	show_lives("vfork_exit", 1, vfork_exit);
	show_lives("fork_exit", 1, fork_exit);
	show_lives("fork_exec", 1, fork_exec);
	show_module_lives("kthread_life");
	show_module_lives("kthread_life_crowd");
	show_module_lives("kthread_big_life");
	show_module_lives("kthread_big_life_crowd");
}

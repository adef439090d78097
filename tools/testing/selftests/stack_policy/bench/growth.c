// SPDX-License-Identifier: GPL-2.0
/* What it takes to grow. There is no such thing on a stock kernel. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../util.h"
#include "bench.h"

#define REFILL	"/sys/kernel/debug/fail_kstack_refill/"
#define DEEP	"20000"		/* bytes: two pages more than there are */
#define CALLS	6000
#define KILLED	500

static void call_deep(int ops)
{
	for (int i = 0; i < ops; i++)
		must(!spit(MODULE "deep", DEEP), MODULE "deep");
}

/* From the allocator: nothing comes back into the reserve any more. */
static void without_reserve(void)
{
	spit(REFILL "verbose", "0");
	spit(REFILL "times", "-1");
	if (spit(REFILL "probability", "100"))
		return;
	show_module("allocator");
	spit(REFILL "probability", "0");
}

/* A millisecond apart: their pages are trimmed, and freed, now and then. */
static void deep_calls_in_a_row(void)
{
	struct stats before = class_stats(TASK), after;

	clear_trace();
	must(!spit(TRACING "events/stack_policy/stack_reclaim/enable", "1"), "stack_reclaim");
	for (int i = 0; i < CALLS; i++) {
		call_deep(1);
		usleep(1000);
	}
	after = class_stats(TASK);
	spit(TRACING "events/stack_policy/stack_reclaim/enable", "0");
	show("deep_calls", CALLS);
	show("deep_calls_trims", after.trims_excess - before.trims_excess);
	show("deep_calls_flushes", traced("stack_reclaim:"));
}

static void long_sleep(int ops)
{
	sleep(15);
}

/* Who has slept long is cold, and has its stack back when it wakes. */
static void after_long_sleep(void)
{
	start_echo(false);
	measure("round_trip_after_15_s", 1, long_sleep, ping_pong);
	end_echo();
}

/*
 * All threads of a process are woken with interrupts off: more than the pool has pages for,
 * so most of them wait until somebody hands out others.
 */
static void killed_after_long_sleep(void)
{
	static pthread_t threads[KILLED];
	bool ours = !access(TABLE, R_OK);
	struct stats before;
	uint64_t start;
	int ends[2];
	pid_t child = must_fork();

	if (!child) {
		must(!start_sleepers(threads, KILLED, ends), "threads");
		pause();
	}
	sleep(15);
	if (ours)
		before = class_stats(TASK);
	start = now();
	must(!kill(child, SIGKILL), "kill()");
	must(waitpid(child, NULL, 0) == child, "waitpid()");
	/* To a hundred: runs differ in the last digits. */
	show("killed_after_15_s", (now() - start) / KILLED / 100 * 100);
	if (ours)
		show("killed_late", class_stats(TASK).late_starts - before.late_starts);
}

static int here[2];

static void byte_to_oneself(int ops)
{
	char byte = 0;

	for (int i = 0; i < ops; i++)
		must(write(here[1], &byte, 1) == 1 && read(here[0], &byte, 1) == 1, "pipe");
}

/* At the entry of a function, by a BPF program. Needs stackpolicy. */
static void ensure_by_bpf(void)
{
	must(!pipe(here), "pipe");
	measure("without_bpf", 20, NULL, byte_to_oneself);
	if (!access(TABLE, F_OK)) {
		must(!system("stackpolicy ensure add vfs_write 256"), "stackpolicy ensure");
		measure("ensure_bpf", 20, NULL, byte_to_oneself);
		must(!system("stackpolicy ensure flush"), "stackpolicy ensure");
	}
	close(here[0]);
	close(here[1]);
}

void growth(int argc, char **argv)
{
	after_long_sleep();
	killed_after_long_sleep();
	ensure_by_bpf();
	show_module("growth");
	without_reserve();
	if (access(MODULE "deep", W_OK))
		return;
	/* The first call gets its pages, the next ones get theirs back. */
	measure("deep_call", 1, NULL, call_deep);
	deep_calls_in_a_row();
}

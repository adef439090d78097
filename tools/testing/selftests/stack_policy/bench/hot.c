// SPDX-License-Identifier: GPL-2.0
/* Paths that are hot: who did not grow pays nothing for it, to the instruction. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define PAGE	4096
#define FAULTS	256
#define AROUND	16		/* pages that a fault in a file maps */
#define TICKS	1001

static void null_calls(int ops)
{
	for (int i = 0; i < ops; i++)
		syscall(SYS_getppid);
}

static void copies_that_fault(int ops)
{
	for (int i = 0; i < ops; i++)
		syscall(SYS_clock_gettime, CLOCK_REALTIME, (void *)PAGE);
}

static void signals(int ops)
{
	for (int i = 0; i < ops; i++)
		syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1);
}

static void on_signal(int sig)
{
}

/* User pages */

static char *anonymous, *file;

static void forget_anonymous(int ops)
{
	madvise(anonymous, ops * PAGE, MADV_DONTNEED);
}

/* The page of zeros. */
static void read_anonymous(int ops)
{
	forget_anonymous(ops);
	for (int i = 0; i < ops; i++)
		(void)*(volatile char *)&anonymous[i * PAGE];
}

static void write_anonymous(int ops)
{
	for (int i = 0; i < ops; i++)
		anonymous[i * PAGE] = 1;
}

static void forget_file(int ops)
{
	madvise(file, ops * AROUND * PAGE, MADV_DONTNEED);
}

static void read_file(int ops)
{
	for (int i = 0; i < ops; i++)
		(void)*(volatile char *)&file[i * AROUND * PAGE];
}

static void user_pages(void)
{
	int fd = memfd_create("bench", 0);
	size_t len = FAULTS * AROUND * PAGE;

	anonymous = mmap(NULL, FAULTS * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(!posix_fallocate(fd, 0, len), "memfd");
	file = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	must(anonymous != MAP_FAILED && file != MAP_FAILED, "mmap");
	measure("fault_anonymous", FAULTS, forget_anonymous, write_anonymous);
	measure("fault_write_protect", FAULTS, read_anonymous, write_anonymous);
	measure("fault_file", FAULTS, forget_file, read_file);
	munmap(anonymous, FAULTS * PAGE);
	munmap(file, len);
	close(fd);
}

/* Switches */

static int here[2];

static void byte_to_oneself(int ops)
{
	char byte = 0;

	for (int i = 0; i < ops; i++)
		must(write(here[1], &byte, 1) == 1 && read(here[0], &byte, 1) == 1, "pipe");
}

static void yield(int ops)
{
	for (int i = 0; i < ops; i++)
		sched_yield();
}

static void round_trips(const char *name, bool process)
{
	start_echo(process);
	measure(name, 4, NULL, ping_pong);
	end_echo();
}

static void switches(void)
{
	pid_t child;

	must(!pipe(here), "pipe");
	measure("pipe_byte", 20, NULL, byte_to_oneself);
	close(here[0]);
	close(here[1]);
	round_trips("pipe_round_trip_process", true);
	round_trips("pipe_round_trip_thread", false);

	child = fork();
	must(child >= 0, "fork");
	while (!child)
		sched_yield();
	measure("yield_round_trip", 4, NULL, yield);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/*
 * The timer interrupt from user mode: what is missing between two looks at the clock.
 * Most do more than count the time, on both kernels alike; the least do not.
 */
static void timer_interrupt(void)
{
	uint64_t least = -1, empty = -1, last = now();

	for (int n = 0; n < TICKS;) {
		uint64_t at = now(), gap = at - last;

		last = at;
		if (gap < empty)
			empty = gap;
		if (gap < 20 * empty)
			continue;
		if (gap < least)
			least = gap;
		n++;
	}
	show("timer_interrupt", least - empty);
}

/* How a process with a small number ends. */
#define TOO_SMALL	99

/*
 * By a process whose number takes two steps to be looked up on both kernels: ours has a few
 * threads more when this begins, and 64 is near.
 */
static void measure_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	int status;

	sigaction(SIGUSR1, &action, NULL);
	do {
		pid_t child;

		fflush(stdout);
		child = fork();
		must(child >= 0, "fork");
		if (!child) {
			if (getpid() < 128)
				_exit(TOO_SMALL);
			measure("signal", 20, NULL, signals);
			exit(0);
		}
		must(waitpid(child, &status, 0) == child, "waitpid");
	} while (WIFEXITED(status) && WEXITSTATUS(status) == TOO_SMALL);
	must(!status, "the process that measures");
}

void hot(int argc, char **argv)
{
	measure("null_syscall", 20, NULL, null_calls);
	measure("copy_that_faults", 20, NULL, copies_that_fault);
	user_pages();
	switches();
	timer_interrupt();
	show_module("hot");
	measure_signals();
}

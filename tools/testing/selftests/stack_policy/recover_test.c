// SPDX-License-Identifier: GPL-2.0
/*
 * What makes up for an overflow is done by an interrupt, and interrupts get lost: where
 * a CPU goes down, and where the machine sleeps. Stacks overflow there, and nothing may
 * be missing afterwards: no page of a reserve, no charge, no report. Needs
 * stack_policy_testmod.ko and stack_policy_lostmod.ko.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "util.h"

#define LOST		"/sys/kernel/debug/stack_policy_lost/"
#define SITES		"/sys/kernel/debug/stack_policy/sites"
#define CPU1		"/sys/devices/system/cpu/cpu1/online"
#define POWER		"/sys/power/"
#define WAKEALARM	"/sys/class/rtc/rtc0/wakealarm"
#define RESERVE_PAGES	16
#define RESERVE_FLOOR	1
#define OVERFLOWS	12

/* The last that this CPU calls when it goes down, with interrupts off for good. */
#define LOSE		"/sys/kernel/debug/fail_kstack_refill/lose_interrupts"
#define DYING		"sched_cpu_dying"

/* The number behind @key in the line of the reserve of @cpu, or -1. */
static int reserve(int cpu, const char *key)
{
	char begin[16];
	const char *line, *at;

	snprintf(begin, sizeof(begin), "cpu=%d ", cpu);
	line = strstr(slurp(RESERVE), begin);
	at = line ? strstr(line, key) : NULL;
	return at ? atoi(at + strlen(key)) : -1;
}

static bool reserve_is_full(int cpu)
{
	return wait_until(reserve(cpu, " pages=") == RESERVE_PAGES);
}

/* Nobody's pages are left without an account. */
static bool all_is_charged(void)
{
	return wait_until(!uncharged_kb());
}

/* How often a thread of that name is the first of a site. */
static int sites_of(const char *comm)
{
	char key[32];
	int n = 0;

	snprintf(key, sizeof(key), " comm=%s ", comm);
	for (const char *at = slurp(SITES); (at = strstr(at, key)); at++)
		n++;
	return n;
}

static bool is_reported(const char *comm)
{
	return wait_until(sites_of(comm));
}

/* The harness is told of an overflow in @comm, which is not this thread. */
static int announce(const char *how, const char *comm)
{
	char text[64];

	snprintf(text, sizeof(text), "stack_policy: overflow %s in %s\n", how, comm);
	return spit("/dev/kmsg", text);
}

/* Write @text to @file on @cpu, in a process of its own. Return: 0, or -1. */
static int write_on(int cpu, const char *file, const char *text)
{
	pid_t child = must_fork();
	int status = -1;

	if (!child) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		_exit(checked(sched_setaffinity(0, sizeof(set), &set)) ||
		      checked(spit(file, text)));
	}
	checked(waitpid(child, &status, 0));
	return status ? -1 : 0;
}

/* The process inherits the name. */
static int overflow_on(int cpu)
{
	expect_overflow("allowed", "recovering");
	return write_on(cpu, MODULE "recurse", "26000");
}

/*
 * As many as would empty a reserve that nobody fills, each with four pages. Return: how
 * many of them were followed by a full reserve.
 */
static int recoveries(int cpu)
{
	int n = 0;

	for (int i = 0; i < OVERFLOWS; i++)
		n += !overflow_on(cpu) && reserve_is_full(cpu);
	return n;
}

FIXTURE(recover) { };
FIXTURE_SETUP(recover)
{
	if (access(MODULE "recurse", W_OK) || access(LOST "deep", W_OK))
		SKIP(return, "stack_policy_testmod.ko or stack_policy_lostmod.ko is not loaded");
	ASSERT_OK(spit(TABLE, "default"));
	ASSERT_OK(spit(SITES, "1"));
}
FIXTURE_TEARDOWN(recover)
{
	spit(LOSE, "0");
	spit(FAIL_REFILL "probability", "0");
	if (!access(CPU1, W_OK))
		EXPECT_OK(spit(CPU1, "1"));
}

/* Where nothing comes back into it, half of it is left for overflows. */
TEST_F(recover, who_can_allocate_leaves_half_of_the_reserve)
{
	unsigned long long grows = class_stats(TASK).grows_ensure;

	if (access(FAIL_REFILL, X_OK))
		SKIP(return, "kernel without CONFIG_FAIL_KSTACK_REFILL");
	ASSERT_TRUE(reserve_is_full(0));
	ASSERT_OK(spit(FAIL_REFILL "verbose", "0"));
	ASSERT_OK(spit(FAIL_REFILL "times", "-1"));
	ASSERT_OK(spit(FAIL_REFILL "probability", "100"));
	/* That takes four pages, and not of the half that is left. */
	EXPECT_EQ(0, overflow_on(0));
	for (int i = 0; i < OVERFLOWS; i++)
		EXPECT_EQ(0, write_on(0, MODULE "ensure", "28000"));
	EXPECT_EQ(RESERVE_PAGES / 2, reserve(0, " pages="));
	EXPECT_OK(spit(FAIL_REFILL "probability", "0"));
	EXPECT_LE(grows + OVERFLOWS, class_stats(TASK).grows_ensure);
	ASSERT_TRUE(reserve_is_full(0));
}

static int cpu1_down_and_up(void)
{
	return spit(CPU1, "0") ?: spit(CPU1, "1");
}

/* The CPU takes its pages with it, and with them the interrupt that brings new ones. */
TEST_F(recover, overflow_of_a_cpu_that_goes_down)
{
	struct stats before = class_stats(KTHREAD);
	long hits = number(LOST "deep", "hits");

	if (access(CPU1, W_OK))
		SKIP(return, "one CPU, or no CPU hotplug");
	ASSERT_OK(announce("expected", "migration/1"));
	ASSERT_OK(spit(LOST "deep", DYING));
	ASSERT_OK(spit(CPU1, "0"));
	ASSERT_EQ(hits + 1, number(LOST "deep", "hits"));
	ASSERT_LT(before.grows_fault, class_stats(KTHREAD).grows_fault);
	/* Before the CPU comes back: it need not. */
	ASSERT_TRUE(is_reported("migration/1"));
	ASSERT_TRUE(all_is_charged());
	ASSERT_OK(spit(CPU1, "1"));
	ASSERT_TRUE(reserve_is_full(1));
	ASSERT_EQ(OVERFLOWS, recoveries(1));
	ASSERT_TRUE(is_reported("recovering"));
	ASSERT_LE(RESERVE_FLOOR, reserve(1, " low_water="));
}

/* Somebody's irq_work lies on the list of a CPU that had gone: no interrupt is raised. */
TEST_F(recover, what_others_left_behind)
{
	long hits = number(LOST "strand", "hits");

	if (access(CPU1, W_OK))
		SKIP(return, "one CPU, or no CPU hotplug");
	ASSERT_OK(spit(LOST "strand", DYING));
	ASSERT_OK(cpu1_down_and_up());
	ASSERT_EQ(hits + 1, number(LOST "strand", "hits"));
	/* Nothing has grown there: somebody else may have to wait for it. */
	ASSERT_TRUE(wait_until(!number(LOST "strand", "queued")));
	ASSERT_EQ(OVERFLOWS, recoveries(1));
	ASSERT_TRUE(all_is_charged());
	ASSERT_TRUE(is_reported("recovering"));
	ASSERT_LE(RESERVE_FLOOR, reserve(1, " low_water="));
}

/* Whatever takes the interrupt away: the tick does its work. */
TEST_F(recover, tick_does_what_the_interrupt_should)
{
	struct stats before = class_stats(TASK);

	if (access(LOSE, W_OK))
		SKIP(return, "no CONFIG_FAIL_KSTACK_REFILL");
	ASSERT_OK(spit(LOSE, "1"));
	ASSERT_EQ(OVERFLOWS, recoveries(0));
	ASSERT_TRUE(is_reported("recovering"));
	ASSERT_TRUE(all_is_charged());
	ASSERT_OK(spit(LOSE, "0"));
	ASSERT_EQ(before.grows_fault + OVERFLOWS * 4, class_stats(TASK).grows_fault);
	ASSERT_LE(RESERVE_FLOOR, reserve(0, " low_water="));
}

/* Overflow, shrink and wake on both, while one of them goes and comes. */
TEST_F(recover, overflows_while_a_cpu_comes_and_goes)
{
	pid_t child;
	int status;

	if (access(CPU1, W_OK))
		SKIP(return, "one CPU, or no CPU hotplug");
	ASSERT_OK(announce("allowed", "migration/1"));
	child = must_fork();
	if (!child) {
		int err = 0;

		expect_overflow("allowed", "recovering");
		for (int i = 0; i < 400 && !err; i++) {
			err = checked(spit_number(MODULE "recurse", 14000 + i % 3 * 7000));
			usleep(i % 10 * 1000);
		}
		_exit(!!err);
	}
	for (int i = 0; !waitpid(child, &status, WNOHANG); i++) {
		EXPECT_OK(spit(i % 2 ? LOST "deep" : LOST "strand", DYING));
		EXPECT_OK(cpu1_down_and_up());
	}
	ASSERT_EQ(0, status);
	ASSERT_EQ(OVERFLOWS, recoveries(1));
	ASSERT_TRUE(reserve_is_full(0));
	ASSERT_TRUE(all_is_charged());
	ASSERT_LE(RESERVE_FLOOR, reserve(0, " low_water="));
	ASSERT_LE(RESERVE_FLOOR, reserve(1, " low_water="));
}

/*
 * The machine sleeps by @state of /sys/power/state. In the last step of that, on the
 * CPU that is left, @symbol is called: the stack overflows there, or else somebody
 * leaves an irq_work behind.
 */
static const char *sleep_and_recover(const char *state, const char *how, const char *symbol)
{
	char path[64];
	long hits;

	snprintf(path, sizeof(path), LOST "%s", how);
	hits = number(path, "hits");
	expect_overflow("allowed", "sleeper");
	if (checked(spit(path, symbol)) || checked(spit(POWER "state", state)))
		return "it does not sleep";
	if (number(path, "hits") != hits + 1)
		return "the probe was not hit once";
	if (!reserve_is_full(0) || !reserve_is_full(1))
		return "a reserve is not full again";
	if (recoveries(0) != OVERFLOWS || recoveries(1) != OVERFLOWS)
		return "a reserve does not recover";
	if (!all_is_charged())
		return "something is not charged";
	if (!is_reported("recovering") || (!strcmp(how, "deep") && !is_reported("sleeper")))
		return "an overflow is not reported";
	if (reserve(0, " low_water=") < RESERVE_FLOOR || reserve(1, " low_water=") < RESERVE_FLOOR)
		return "a reserve was below its floor";
	return "";
}

FIXTURE(sleep) { };
FIXTURE_VARIANT(sleep) { const char *how; };
/* The thread that has the machine sleep needs stack at the very end. */
FIXTURE_VARIANT_ADD(sleep, deep) { "deep" };
/* Somebody else's irq_work stays on the list. */
FIXTURE_VARIANT_ADD(sleep, strand) { "strand" };
FIXTURE_SETUP(sleep)
{
	if (access(MODULE "recurse", W_OK) || access(LOST "deep", W_OK))
		SKIP(return, "stack_policy_testmod.ko or stack_policy_lostmod.ko is not loaded");
	if (access(POWER "state", W_OK))
		SKIP(return, "no CONFIG_SUSPEND, no CONFIG_HIBERNATION");
	ASSERT_OK(spit(TABLE, "default"));
	ASSERT_OK(spit(SITES, "1"));
	/* Who wakes up cold would take from the reserve, and raise what was lost. */
	ASSERT_OK(spit(COLD_SECS, "0"));
}
FIXTURE_TEARDOWN(sleep)
{
	EXPECT_OK(spit(COLD_MS, DEFAULT_COLD_MS));
}

TEST_F(sleep, to_ram)
{
	if (!strstr(slurp(POWER "mem_sleep"), "deep"))
		SKIP(return, "no suspend to RAM");
	ASSERT_OK(spit(POWER "mem_sleep", "deep"));
	ASSERT_OK(spit(WAKEALARM, "0"));
	ASSERT_OK(spit(WAKEALARM, "+60"));
	ASSERT_STREQ("", sleep_and_recover("mem", variant->how, "x86_acpi_suspend_lowlevel"));
}

/* The machine is off meanwhile: somebody has to start it again, with resume=. */
TEST_F(sleep, to_disk)
{
	if (!strstr(slurp(POWER "state"), "disk") || access("/dev/vdb", W_OK))
		SKIP(return, "no hibernation, or no second disk to swap to");
	ASSERT_OK(spit(POWER "disk", "shutdown"));
	ASSERT_STREQ("", sleep_and_recover("disk", variant->how, "save_processor_state"));
}

/* Half of them are frozen where they sleep, the others have to run to freeze. */
#define MANY	10000

FIXTURE(sleepers) { };
FIXTURE_SETUP(sleepers)
{
	if (access(TRIM, W_OK))
		SKIP(return, "no debugfs");
	if (!strstr(slurp(POWER "mem_sleep"), "deep"))
		SKIP(return, "no suspend to RAM");
	ASSERT_OK(spit(TABLE, "default"));
	ASSERT_OK(spit(COLD_SECS, "0"));
	/* A debugging kernel that is emulated has to wake and freeze all those. */
	ASSERT_OK(spit(POWER "pm_freeze_timeout", "600000"));
}
FIXTURE_TEARDOWN(sleepers)
{
	EXPECT_OK(spit(COLD_MS, DEFAULT_COLD_MS));
	EXPECT_OK(spit(POWER "pm_freeze_timeout", "20000"));
}

static void nothing(int signal)
{
}

static void *freezable_sleeper(void *unused)
{
	struct timespec long_time = { .tv_sec = 100000 };

	nanosleep(&long_time, NULL);
	return NULL;
}

/* Every 100th of the half that begins there. */
static int cold_samples(const pid_t *first)
{
	return cold_ones(first, MANY / 2, 100);
}

/*
 * The harness wakes a machine that sleeps; elsewhere its clock does. An alarm that comes
 * before the machine sleeps is gone.
 */
static bool suspend(void)
{
	return !checked(spit(WAKEALARM, "0")) && !checked(spit(WAKEALARM, "+600")) &&
	       !checked(spit(POWER "state", "mem"));
}

TEST_F(sleepers, are_frozen_and_thawed)
{
	static pthread_t light[MANY / 2], deep[MANY / 2];
	static pid_t tids[MANY + 1];
	struct sigaction action = { .sa_handler = nothing };
	struct stats before = class_stats(TASK);
	pthread_attr_t attr;
	int ends[2];

	ASSERT_OK(sigaction(SIGUSR1, &action, NULL));
	ASSERT_OK(spit(POWER "mem_sleep", "deep"));
	ASSERT_OK(start_sleepers(light, MANY / 2, ends));
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * 1024);
	for (int i = 0; i < MANY / 2; i++)
		ASSERT_OK(-pthread_create(&deep[i], &attr, freezable_sleeper, NULL));
	ASSERT_EQ(MANY + 1, threads_of(getpid(), tids, MANY + 1));
	ASSERT_TRUE(wait_until(!checked(spit(TRIM, "1")) &&
			       cold_samples(tids + 1) == MANY / 200 &&
			       cold_samples(tids + 1 + MANY / 2) == MANY / 200));
	ASSERT_TRUE(suspend());
	/* Those who slept on have what they had, the others were given their stack to freeze. */
	EXPECT_EQ(0, cold_samples(tids + 1));
	EXPECT_EQ(MANY / 200, cold_samples(tids + 1 + MANY / 2));
	for (int i = 0; i < MANY / 2; i++)
		pthread_kill(deep[i], SIGUSR1);
	for (int i = 0; i < MANY / 2; i++)
		pthread_join(deep[i], NULL);
	stop_sleepers(light, MANY / 2, ends);
	EXPECT_EQ(before.grows_fault, class_stats(TASK).grows_fault);
}

TEST_HARNESS_MAIN

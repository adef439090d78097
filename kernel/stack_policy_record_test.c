// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of what is kept of a backtrace. Included by stack_policy_record.c,
 * because what they drive is static there.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/iopoll.h>
#include <linux/kthread.h>
#include <linux/slab.h>
#include <trace/events/stack_policy.h>

#define MAX_CHAIN	(KSTACK_FRAMES + 2 * KSTACK_OUTER + 1)
#define FIRST_IP	1000UL
#define DEEP		17000		/* bytes: more than what is not reported */
#define DEADLINE_US	(60 * USEC_PER_SEC)

/* Frame n of a made up chain has this many bytes. */
static unsigned int bytes_of(unsigned int n)
{
	return 8 + n % 5 * 16;
}

static void check_chain(struct kunit *test, const struct kstack_frames *f, unsigned int length)
{
	unsigned int left_out = length < KSTACK_FRAMES ? 0 : length - (KSTACK_FRAMES - 1);
	unsigned int i, n = 0, wrong = 0, missing = 0;

	KUNIT_EXPECT_EQ(test, f->left_out, left_out);
	KUNIT_EXPECT_EQ(test, f->nr, left_out ? KSTACK_FRAMES : length);
	for (i = 0; i < f->nr; i++) {
		if (left_out && i == KSTACK_INNER) {
			for (; n < KSTACK_INNER + left_out; n++)
				missing += bytes_of(n);
			wrong += f->ip[i] != KSTACK_LEFT_OUT || f->bytes[i] != missing;
			continue;
		}
		wrong += f->ip[i] != FIRST_IP + n || f->bytes[i] != bytes_of(n);
		n++;
	}
	KUNIT_EXPECT_EQ_MSG(test, wrong, 0, "%u frames", length);
	KUNIT_EXPECT_EQ(test, n, length);
}

/* Whatever its length: both ends are there in order, and no byte is lost or added. */
static void both_ends_are_kept(struct kunit *test)
{
	struct kstack_frames *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	unsigned int length, i;

	KUNIT_ASSERT_NOT_NULL(test, f);
	for (length = 1; length <= MAX_CHAIN; length++) {
		memset(f, 0, sizeof(*f));
		for (i = 0; i < length; i++)
			add_frame(f, FIRST_IP + i, bytes_of(i));
		put_in_order(f);
		check_chain(test, f, length);
	}
}

static noinline void ping(unsigned long to);

/* No tail call: each has something to do afterwards. */
static noinline void pong(unsigned long to)
{
	volatile unsigned long frame[10] = { to };

	ping(frame[0]);
	frame[1] = frame[0];
}

static noinline void ping(unsigned long to)
{
	volatile unsigned long frame[8] = { to };

	if (current_stack_pointer > to)
		pong(frame[0]);
	frame[1] = frame[0];
}

static int ping_fn(void *done)
{
	ping((unsigned long)task_stack_page(current) + THREAD_SIZE - DEEP);
	complete(done);
	return 0;
}

/* The last overflow of the thread. */
static struct {
	struct kstack_frames	frames;
	unsigned int		from;
	bool			deep;
} seen;

static void see(void *data, pid_t pid, const char *comm, u8 class, unsigned int from,
		unsigned int to, unsigned int limit, int vector,
		const struct kstack_frames *frames)
{
	if (strcmp(comm, "pingpong"))
		return;
	seen.frames = *frames;
	seen.from = from;
	WRITE_ONCE(seen.deep, stack_policy_is_deep(to));
}

static void expect_function(struct kunit *test, const struct kstack_frames *f, unsigned int i,
			    const char *name, unsigned int bytes)
{
	char text[64];

	snprintf(text, sizeof(text), "%ps", (void *)f->ip[i]);
	KUNIT_EXPECT_STREQ(test, text, name);
	if (bytes != UINT_MAX)
		KUNIT_EXPECT_EQ(test, f->bytes[i], bytes);
}

/*
 * Two functions that call each other, deeper than frames are kept: no function is
 * given what is not its own, and the thread's function is there.
 */
static void nobody_is_blamed(struct kunit *test)
{
	const struct kstack_frames *f = &seen.frames;
	unsigned int i, sum = 0, most = 0;
	DECLARE_COMPLETION_ONSTACK(done);
	bool deep;

	pr_info("overflow expected in pingpong\n");
	seen.deep = false;
	KUNIT_ASSERT_EQ(test, register_trace_stack_fault(see, NULL), 0);
	KUNIT_EXPECT_FALSE(test, IS_ERR(kthread_run(ping_fn, &done, "pingpong")));
	wait_for_completion(&done);
	read_poll_timeout(READ_ONCE, deep, deep, 1000, DEADLINE_US, false, seen.deep);
	unregister_trace_stack_fault(see, NULL);
	tracepoint_synchronize_unregister();
	KUNIT_ASSERT_TRUE(test, deep);

	KUNIT_ASSERT_EQ(test, f->nr, KSTACK_FRAMES);
	KUNIT_EXPECT_EQ(test, f->ip[KSTACK_INNER], KSTACK_LEFT_OUT);
	KUNIT_EXPECT_GT(test, f->left_out, 20);
	for (i = 0; i < f->nr; i++) {
		sum += f->bytes[i];
		if (kstack_is_function(f->ip[i]))
			most = max(most, f->bytes[i]);
	}
	/* SP was at the edge, but for what was pushed there. */
	KUNIT_EXPECT_GT(test, sum, seen.from - 512);
	KUNIT_EXPECT_LT(test, sum, seen.from + 512);
	KUNIT_EXPECT_LT(test, most, 512);
	KUNIT_EXPECT_EQ(test, f->ip[f->nr - 1], KSTACK_USER_REGS);
	KUNIT_EXPECT_GE(test, f->bytes[f->nr - 1], sizeof(struct pt_regs));
	expect_function(test, f, f->nr - 2, "ret_from_fork_asm", 0);
	expect_function(test, f, f->nr - 3, "ret_from_fork", UINT_MAX);
	expect_function(test, f, f->nr - 4, "kthread", UINT_MAX);
	expect_function(test, f, f->nr - 5, "ping_fn", UINT_MAX);
}

static struct kunit_case stack_policy_record_cases[] = {
	KUNIT_CASE(both_ends_are_kept),
	KUNIT_CASE(nobody_is_blamed),
	{}
};

static struct kunit_suite stack_policy_record_suite = {
	.name = "stack_policy_record",
	.test_cases = stack_policy_record_cases,
};
kunit_test_suite(stack_policy_record_suite);

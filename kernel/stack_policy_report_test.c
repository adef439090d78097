// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of how recursion is printed. Included by stack_policy_report.c, because what
 * they drive is static there.
 */
#include <kunit/test.h>

static void add(struct kstack_frames *f, unsigned long ip, unsigned int bytes)
{
	f->ip[f->nr] = ip;
	f->bytes[f->nr++] = bytes;
}

static void expect_period(struct kunit *test, const char *chain, unsigned int want,
			  unsigned int want_often)
{
	struct kstack_frames *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	unsigned int often, period;
	const char *c;

	KUNIT_ASSERT_NOT_NULL(test, f);
	for (c = chain; *c; c++)
		add(f, KSTACK_NR_NO_FUNCTIONS + *c, *c);
	period = find_period(f, 0, &often);
	KUNIT_EXPECT_EQ_MSG(test, period, want, "%s", chain);
	KUNIT_EXPECT_EQ_MSG(test, often, want_often, "%s", chain);
}

static void any_period_is_found(struct kunit *test)
{
	expect_period(test, "a", 1, 1);
	expect_period(test, "abcd", 1, 1);
	expect_period(test, "aaab", 1, 3);
	expect_period(test, "ababababc", 2, 4);
	expect_period(test, "abcabcab", 3, 2);
	/* The longer one saves more. */
	expect_period(test, "aabaabaab", 3, 3);
	/* Not from here on. */
	expect_period(test, "xabababab", 1, 1);
	expect_period(test, "abcdefghijklmnopabcdefghijklmnopabcdefghijklmnop", 16, 3);
}

static struct kunit_case stack_policy_report_cases[] = {
	KUNIT_CASE(any_period_is_found),
	{}
};

static struct kunit_suite stack_policy_report_suite = {
	.name = "stack_policy_report",
	.test_cases = stack_policy_report_cases,
};
kunit_test_suite(stack_policy_report_suite);

// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of how overflows are grouped, which of them is printed when, and how
 * recursion is. Included by stack_policy_report.c, because what they drive is static
 * there.
 */
#include <kunit/test.h>
#include <linux/iopoll.h>
#include <linux/sched.h>

#define NR_FUNCTIONS	100
#define OUTER		0	/* functions from here on: the way in */
#define RECURSION	10
#define LEAF		20
#define OTHER		30
#define MORE		50
#define DEADLINE_US	(60 * USEC_PER_SEC)

/* Where functions of this kernel begin, no two of which are one cause by their hash. */
static unsigned long functions[NR_FUNCTIONS];

static int find_functions(struct kunit_suite *suite)
{
	unsigned long at = (unsigned long)schedule, size, offset;
	DECLARE_BITMAP(hashes, 1 << CAUSE_BITS) = {};
	unsigned int nr = 0;

	while (nr < NR_FUNCTIONS) {
		if (!kallsyms_lookup_size_offset(at, &size, &offset) || !size)
			return -ENOENT;
		/* Room for some places to return to. */
		if (!offset && size >= 32 &&
		    !__test_and_set_bit(hash_long(at, CAUSE_BITS), hashes))
			functions[nr++] = at;
		at += size - offset;
	}
	return 0;
}

static void add(struct kstack_frames *f, unsigned long ip, unsigned int bytes)
{
	f->ip[f->nr] = ip;
	f->bytes[f->nr++] = bytes;
}

/* @place: 0 to 3, where in the function it is. */
static void add_function(struct kstack_frames *f, unsigned int function, unsigned int bytes,
			 unsigned int place)
{
	add(f, functions[function] + 8 + 4 * place, bytes);
}

/* From the innermost on: a leaf, a recursion of two functions, the way in. */
static void make_chain(struct overflow *o, unsigned int leaf, unsigned int depth)
{
	struct kstack_frames *f = &o->frames;
	unsigned int i;

	memset(o, 0, sizeof(*o));
	o->deep = true;
	for (i = 0; i < 3; i++)
		add_function(f, leaf + i, 100, i);
	for (i = 0; i < depth && f->nr < KSTACK_INNER; i += 2) {
		add_function(f, RECURSION, 200, leaf % 4);
		add_function(f, RECURSION + 1, 120, 0);
	}
	if (i < depth) {
		f->left_out = depth - i;
		add(f, KSTACK_LEFT_OUT, f->left_out * 160);
		add_function(f, RECURSION, 200, leaf % 4);
		add_function(f, RECURSION + 1, 120, 0);
	}
	for (i = 0; i < 8; i++)
		add_function(f, OUTER + i, 80, 0);
	add(f, KSTACK_USER_REGS, 184);
}

/* One function with 40 % of the stack, and others with the rest. */
static void make_cause(struct overflow *o, unsigned int cause, unsigned int others)
{
	unsigned int i;

	memset(o, 0, sizeof(*o));
	o->deep = true;
	add_function(&o->frames, cause, 4000, 0);
	for (i = 0; i < 3; i++)
		add_function(&o->frames, others + i, 2000, 0);
}

struct world {
	struct site_table	t;
	struct overflow		o;
	struct report		report;
};

static struct world *new_world(struct kunit *test)
{
	struct world *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, w);
	raw_spin_lock_init(&w->t.lock);
	return w;
}

static unsigned int nr_sites(const struct site_table *t)
{
	unsigned int i, nr = 0;

	for (i = 0; i < NR_SITES; i++)
		nr += !!t->site[i].count;
	return nr;
}

/* The function that the next report is about, or 0. */
static unsigned long next_cause(struct world *w)
{
	return next_report(&w->t, &w->report) ? w->report.cause : 0;
}

/* Reports that may be printed now. */
static unsigned int print_all(struct world *w)
{
	unsigned int n = 0;

	while (next_report(&w->t, &w->report))
		n++;
	return n;
}

static void pass_interval(struct world *w)
{
	w->t.began -= REPORT_INTERVAL + 1;
}

static void depth_and_leaf_do_not_matter(struct kunit *test)
{
	struct world *w = new_world(test);
	unsigned int leaf, depth, n = 0;

	for (leaf = LEAF; leaf < LEAF + 6; leaf++) {
		for (depth = 20; depth < 200; depth += 20, n++) {
			make_chain(&w->o, leaf, depth);
			w->o.to_bytes = depth * 100;
			count_at_site(&w->t, &w->o);
		}
	}
	KUNIT_EXPECT_EQ(test, nr_sites(&w->t), 1);
	KUNIT_EXPECT_EQ(test, w->t.site[0].deep, n);
	KUNIT_EXPECT_EQ(test, w->t.site[0].most, 180 * 100);
	KUNIT_EXPECT_EQ(test, print_all(w), 1);
}

static void other_functions_are_another_site(struct kunit *test)
{
	struct world *w = new_world(test);
	unsigned int i;

	make_chain(&w->o, LEAF, 60);
	count_at_site(&w->t, &w->o);
	/* The same way in, and from there on other functions. */
	memset(&w->o.frames, 0, sizeof(w->o.frames));
	for (i = 0; i < 12; i++)
		add_function(&w->o.frames, OTHER + i, 800, 0);
	for (i = 0; i < 8; i++)
		add_function(&w->o.frames, OUTER + i, 80, 0);
	count_at_site(&w->t, &w->o);
	KUNIT_EXPECT_EQ(test, nr_sites(&w->t), 2);
	/* Of the same two leaves, but nobody knows what is below. */
	for (i = 0; i < 2; i++) {
		memset(&w->o.frames, 0, sizeof(w->o.frames));
		add_function(&w->o.frames, LEAF + i, 0, 0);
		add(&w->o.frames, KSTACK_NOT_UNWOUND, 12000);
		count_at_site(&w->t, &w->o);
		count_at_site(&w->t, &w->o);
	}
	KUNIT_EXPECT_EQ(test, nr_sites(&w->t), 4);
	KUNIT_EXPECT_EQ(test, print_all(w), 4);
}

/* The first deep one is what there is to see, however many events came before. */
static void deep_overflow_takes_over(struct kunit *test)
{
	struct world *w = new_world(test);

	make_chain(&w->o, LEAF, 20);
	w->o.deep = false;
	w->o.pid = 1;
	count_at_site(&w->t, &w->o);
	KUNIT_EXPECT_EQ(test, print_all(w), 0);
	KUNIT_EXPECT_EQ(test, w->report.waiting, 0);
	make_chain(&w->o, LEAF, 40);
	w->o.pid = 2;
	count_at_site(&w->t, &w->o);
	KUNIT_EXPECT_TRUE(test, next_report(&w->t, &w->report));
	KUNIT_EXPECT_EQ(test, w->report.overflow.pid, 2);
	KUNIT_EXPECT_EQ(test, w->report.cause, functions[RECURSION]);
	KUNIT_EXPECT_EQ(test, w->t.site[0].count, 2);
}

/* Many sites of one cause, and one of another in the same interval. */
static void new_causes_come_first(struct kunit *test)
{
	struct world *w = new_world(test);
	unsigned int i;

	for (i = 0; i < 12; i++) {
		make_cause(&w->o, RECURSION, MORE + 3 * i);
		count_at_site(&w->t, &w->o);
	}
	KUNIT_EXPECT_EQ(test, nr_sites(&w->t), 12);
	KUNIT_EXPECT_EQ(test, print_all(w), REPORT_AGAIN);
	KUNIT_EXPECT_EQ(test, w->report.waiting, 12 - REPORT_AGAIN);
	make_cause(&w->o, OTHER, OUTER);
	count_at_site(&w->t, &w->o);
	KUNIT_EXPECT_EQ(test, next_cause(w), functions[OTHER]);
	KUNIT_EXPECT_EQ(test, w->report.waiting, 12 - REPORT_AGAIN);
	/* And not one that is old by now. */
	make_cause(&w->o, OTHER, OUTER + 3);
	count_at_site(&w->t, &w->o);
	KUNIT_EXPECT_EQ(test, print_all(w), 0);
	/* In the next interval again, before those that wait. */
	make_cause(&w->o, OTHER + 1, OUTER + 6);
	count_at_site(&w->t, &w->o);
	pass_interval(w);
	KUNIT_EXPECT_EQ(test, next_cause(w), functions[OTHER + 1]);
	KUNIT_EXPECT_EQ(test, next_cause(w), functions[RECURSION]);
}

/* Nothing is lost: what has to wait is printed, without another overflow. */
static void ten_in_five_seconds(struct kunit *test)
{
	struct world *w = new_world(test);
	unsigned int i;

	for (i = 0; i < 25; i++) {
		make_cause(&w->o, OTHER + i, MORE + i);
		w->o.frames.nr = 1;
		count_at_site(&w->t, &w->o);
	}
	KUNIT_EXPECT_EQ(test, print_all(w), REPORT_BURST);
	KUNIT_EXPECT_EQ(test, w->report.waiting, 15);
	KUNIT_EXPECT_EQ(test, print_all(w), 0);
	pass_interval(w);
	KUNIT_EXPECT_EQ(test, print_all(w), REPORT_BURST);
	pass_interval(w);
	KUNIT_EXPECT_EQ(test, print_all(w), 5);
	KUNIT_EXPECT_EQ(test, w->report.waiting, 0);
	KUNIT_EXPECT_EQ(test, w->t.forgotten, 0);
}

static unsigned int nr_waiting(struct site_table *t)
{
	unsigned int waiting;

	scoped_guard(raw_spinlock_irqsave, &t->lock)
		first_waiting(t, &waiting);
	return waiting;
}

/* The table of the kernel, into its log. */
static void what_waited_is_printed(struct kunit *test)
{
	struct world *w = new_world(test);
	unsigned int i, waiting;

	pr_info("overflow allowed in made-up\n");
	for (i = 0; i < REPORT_BURST + 2; i++) {
		make_cause(&w->o, OTHER + i, 0);
		w->o.frames.nr = 1;
		strscpy(w->o.comm, "made-up");
		atomic_inc(&nr_unreported);
		count_at_site(&sites, &w->o);
	}
	print_reports();
	read_poll_timeout(nr_waiting, waiting, !waiting, 20000, DEADLINE_US, false, &sites);
	KUNIT_EXPECT_EQ(test, waiting, 0);
}

/* Events go, then what was printed; and if one goes that waits, it is counted. */
static void what_waits_stays(struct kunit *test)
{
	struct world *w = new_world(test);
	unsigned int i, printed = 0;

	for (i = 0; i < NR_SITES; i++) {
		make_cause(&w->o, MORE + i, 0);
		w->o.frames.nr = 1;
		/* Two events, five to be printed, the others to wait. */
		w->o.deep = i > 1;
		count_at_site(&w->t, &w->o);
		if (i == 6)
			printed = print_all(w);
	}
	KUNIT_EXPECT_EQ(test, printed, 5);
	for (i = 0; i < 2 + 5; i++) {
		make_cause(&w->o, OUTER + i, 0);
		w->o.frames.nr = 1;
		count_at_site(&w->t, &w->o);
	}
	KUNIT_EXPECT_EQ(test, nr_sites(&w->t), NR_SITES);
	KUNIT_EXPECT_EQ(test, w->t.forgotten, 0);
	KUNIT_EXPECT_EQ(test, nr_waiting(&w->t), NR_SITES);
	make_cause(&w->o, LEAF, 0);
	w->o.frames.nr = 1;
	count_at_site(&w->t, &w->o);
	KUNIT_EXPECT_EQ(test, w->t.forgotten, 1);
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
	KUNIT_CASE(depth_and_leaf_do_not_matter),
	KUNIT_CASE(other_functions_are_another_site),
	KUNIT_CASE(deep_overflow_takes_over),
	KUNIT_CASE(new_causes_come_first),
	KUNIT_CASE(ten_in_five_seconds),
	KUNIT_CASE_SLOW(what_waited_is_printed),
	KUNIT_CASE(what_waits_stays),
	KUNIT_CASE(any_period_is_found),
	{}
};

static struct kunit_suite stack_policy_report_suite = {
	.name = "stack_policy_report",
	.suite_init = find_functions,
	.test_cases = stack_policy_report_cases,
};
kunit_test_suite(stack_policy_report_suite);

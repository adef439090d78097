// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the stack policy. Included by stack_policy.c, because what
 * they drive is static there.
 */
#include <kunit/test.h>
#include <linux/iopoll.h>
#include <linux/irq_work.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/sched/task.h>
#include <linux/vmalloc.h>

/* For what takes a moment, and longer where the host is busy with others. */
#define POLL_US		1000
#define DEADLINE_US	(60 * USEC_PER_SEC)

static int parse(struct kunit *test, const char *text, struct stack_policy_table *t)
{
	char *copy = kunit_kzalloc(test, strlen(text) + 1, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, copy);
	memcpy(copy, text, strlen(text));
	*t = default_table;
	return parse_table(copy, t);
}

static void parse_valid(struct kunit *test)
{
	struct stack_policy_table t;

	KUNIT_EXPECT_EQ(test, parse(test, "task=8/16", &t), 0);
	KUNIT_EXPECT_EQ(test, t.row[STACK_CLASS_TASK].populate_kb, 8);
	KUNIT_EXPECT_EQ(test, t.row[STACK_CLASS_TASK].limit_kb, 16);
	KUNIT_EXPECT_EQ(test, t.row[STACK_CLASS_KTHREAD].populate_kb, 12);

	KUNIT_EXPECT_EQ(test, parse(test, " kthread=4/4,\tuser-worker=32/32\n", &t), 0);
	KUNIT_EXPECT_EQ(test, t.row[STACK_CLASS_KTHREAD].limit_kb, 4);
	KUNIT_EXPECT_EQ(test, t.row[STACK_CLASS_USER_WORKER].populate_kb, 32);

	KUNIT_EXPECT_EQ(test, parse(test, "task=8/8 default kthread-big=16/32", &t), 0);
	KUNIT_EXPECT_EQ(test, t.row[STACK_CLASS_TASK].populate_kb, 12);
	KUNIT_EXPECT_EQ(test, t.row[STACK_CLASS_KTHREAD_BIG].populate_kb, 16);

	KUNIT_EXPECT_EQ(test, parse(test, "kvm-vcpu=16/16 irq=32/32", &t), 0);
	KUNIT_EXPECT_EQ(test, t.row[STACK_CLASS_KVM_VCPU].limit_kb, 16);

	KUNIT_EXPECT_EQ(test, parse(test, "task=16/16/trim kthread=12/32/keep irq=32/32/keep", &t),
			0);
	KUNIT_EXPECT_EQ(test, t.row[STACK_CLASS_TASK].sleepers, STACK_SLEEPERS_TRIM);
	KUNIT_EXPECT_EQ(test, t.row[STACK_CLASS_KTHREAD].sleepers, STACK_SLEEPERS_KEEP);
	KUNIT_EXPECT_EQ(test, t.row[STACK_CLASS_IRQ].sleepers, STACK_SLEEPERS_BY_SIZE);
	KUNIT_EXPECT_EQ(test, parse(test, "task=16/32/trim kthread=16/16/keep", &t), 0);
	KUNIT_EXPECT_EQ(test, t.row[STACK_CLASS_TASK].sleepers, STACK_SLEEPERS_BY_SIZE);
	KUNIT_EXPECT_EQ(test, t.row[STACK_CLASS_KTHREAD].sleepers, STACK_SLEEPERS_BY_SIZE);
	KUNIT_EXPECT_EQ(test, parse(test, "task=8/8/trim task=8/8", &t), 0);
	KUNIT_EXPECT_EQ(test, t.row[STACK_CLASS_TASK].sleepers, STACK_SLEEPERS_BY_SIZE);
}

/* Each can be written by its name and by its rows, and is known by both. */
static void profiles_have_names(struct kunit *test)
{
	struct stack_policy_table before = table, t;
	unsigned int i, class;

	for (i = 0; i < ARRAY_SIZE(profiles); i++) {
		KUNIT_EXPECT_EQ(test, parse(test, profiles[i].name, &t), 0);
		KUNIT_EXPECT_MEMEQ(test, &t, profiles[i].table, sizeof(t));
		for (class = 0; class < STACK_CLASS_MAX; class++) {
			struct stack_policy_entry normal = normal_row(t.row[class]);

			KUNIT_EXPECT_TRUE(test, row_valid(class, &t.row[class]));
			KUNIT_EXPECT_MEMEQ(test, &normal, &t.row[class], sizeof(normal));
		}
		table = t;
		KUNIT_EXPECT_STREQ(test, profile_name(), profiles[i].name);
		table.row[STACK_CLASS_TASK].populate_kb = 4;
		KUNIT_EXPECT_STREQ(test, profile_name(), "custom");
	}
	table = before;
}

static void parse_invalid(struct kunit *test)
{
	static const char * const bad[] = {
		"", " \n", "task", "task=", "task=/", "task=8", "task=8/",
		"task=/8", "task=0/32", "task=12/8", "task=12/36", "task=36/36",
		"task=10/32", "task=12/30", "task=-4/32", "task=+4/32",
		"task=12/32x", "task=12/32/32", "task=4294967300/32", "tasks=12/32",
		"task=8/32 bogus=8/32", "default=1/2", "TASK=12/32",
		"kvm-vcpu=28/32", "irq=16/16", "irq=28/32", "irq=32/32/trim",
		"task=12/32/", "task=12/32/trim/", "task=12/32/cold", "task=12//trim",
		"task=12/32/keep=1", "conservative=12/32", "custom", "Static",
	};
	struct stack_policy_table t;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ_MSG(test, parse(test, bad[i], &t), -EINVAL,
				    "\"%s\"", bad[i]);
}

static void update_all_or_nothing(struct kunit *test)
{
	struct stack_policy_table before = table;
	char good[] = "task=8/32 kthread=16/32", bad[] = "task=4/32 kthread=5/32";
	char restore[] = "default";

	KUNIT_EXPECT_EQ(test, update_table(bad), -EINVAL);
	KUNIT_EXPECT_MEMEQ(test, &table, &before, sizeof(table));
	KUNIT_EXPECT_EQ(test, update_table(good), 0);
	KUNIT_EXPECT_EQ(test, read_row(STACK_CLASS_TASK).populate_kb, 8);
	KUNIT_EXPECT_EQ(test, read_row(STACK_CLASS_KTHREAD).populate_kb, 16);
	KUNIT_EXPECT_EQ(test, update_table(restore), 0);
	KUNIT_EXPECT_MEMEQ(test, &table, &default_table, sizeof(table));
	table = before;
}

static void table_fits_its_text(struct kunit *test)
{
	char text[TABLE_TEXT_MAX];
	struct stack_policy_table t;

	format_table(text, sizeof(text));
	KUNIT_EXPECT_EQ(test, parse(test, text, &t), 0);
	KUNIT_EXPECT_MEMEQ(test, &t, &table, sizeof(t));
}

static void row_update(struct kunit *test)
{
	static const struct stack_policy_entry bad[] = {
		{ 0, 32 }, { 12, 0 }, { 16, 12 }, { 12, 36 }, { 36, 36 }, { 13, 32 },
		{ 12, 30 }, { 12, USHRT_MAX - 3 }, { UINT_MAX - 3, USHRT_MAX - 3 },
		{ 12, 32, STACK_SLEEPERS_KEEP + 1 }, { 12, 32, USHRT_MAX },
	};
	struct stack_policy_entry good = { 8, 16 }, before = read_row(STACK_CLASS_TASK);
	struct stack_policy_entry irq = read_row(STACK_CLASS_IRQ);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		KUNIT_EXPECT_EQ_MSG(test, stack_policy_set_row(STACK_CLASS_TASK, &bad[i]),
				    -EINVAL, "%u/%u", bad[i].populate_kb, bad[i].limit_kb);
		KUNIT_EXPECT_MEMEQ(test, stack_policy_row(STACK_CLASS_TASK), &before,
				   sizeof(before));
	}
	KUNIT_EXPECT_EQ(test, stack_policy_set_row(STACK_CLASS_TASK, &good), 0);
	KUNIT_EXPECT_EQ(test, read_row(STACK_CLASS_TASK).populate_kb, 8);
	KUNIT_EXPECT_EQ(test, read_row(STACK_CLASS_TASK).limit_kb, 16);
	KUNIT_EXPECT_EQ(test, stack_policy_set_row(STACK_CLASS_KVM_VCPU, &good), -EINVAL);
	KUNIT_EXPECT_EQ(test, stack_policy_set_row(STACK_CLASS_IRQ, &good), -EINVAL);
	KUNIT_EXPECT_EQ(test, stack_policy_set_row(STACK_CLASS_IRQ, &irq), 0);
	KUNIT_EXPECT_EQ(test, stack_policy_set_row(STACK_CLASS_TASK, &before), 0);
}

static void class_selection(struct kunit *test)
{
	struct kernel_clone_args user = {}, kthread = { .kthread = 1 };
	struct kernel_clone_args io = { .io_thread = 1, .user_worker = 1 };
	struct kernel_clone_args vhost = { .user_worker = 1 };

	KUNIT_EXPECT_EQ(test, classify(&user), STACK_CLASS_TASK);
	KUNIT_EXPECT_EQ(test, classify(&kthread), STACK_CLASS_KTHREAD);
	KUNIT_EXPECT_EQ(test, classify(&io), STACK_CLASS_USER_WORKER);
	KUNIT_EXPECT_EQ(test, classify(&vhost), STACK_CLASS_USER_WORKER);
	stack_policy_kthread_flags(KTHREAD_BIG_STACK);
	KUNIT_EXPECT_EQ(test, classify(&kthread), STACK_CLASS_KTHREAD_BIG);
	KUNIT_EXPECT_EQ(test, classify(&user), STACK_CLASS_TASK);
	stack_policy_kthread_flags(0);
}

/* What a helper thread saw of its own stack. */
struct seen {
	struct completion done;
	enum stack_class class;
	unsigned int mapped, grows_ensure, grows_fault, grows_fault_deep;
	int ensure_small, ensure_big, ensure_too_big;
	unsigned long not_used;
	bool intact;
	struct stack_policy_stats during;
};

static unsigned int mapped_pages(const void *base)
{
	unsigned int slot, n = 0;

	/* The page tables' answer, not the counters'. */
	for (slot = 0; slot < KSTACK_PAGES; slot++)
		n += !!vmalloc_to_page(base + slot * PAGE_SIZE);
	return n;
}

static int look_fn(void *data)
{
	struct seen *seen = data;

	seen->class = current->stack_class;
	seen->mapped = mapped_pages(current->stack);
	complete(&seen->done);
	return 0;
}

static void kthread_classes(struct kunit *test)
{
	struct seen seen = {};
	struct task_struct *t;

	init_completion(&seen.done);
	t = kthread_create_flags_on_node(look_fn, &seen, 0, NUMA_NO_NODE, "plain");
	KUNIT_ASSERT_FALSE(test, IS_ERR(t));
	wake_up_process(t);
	wait_for_completion(&seen.done);
	KUNIT_EXPECT_EQ(test, seen.class, STACK_CLASS_KTHREAD);
	KUNIT_EXPECT_EQ(test, seen.mapped, 3);

	reinit_completion(&seen.done);
	t = kthread_create_flags_on_node(look_fn, &seen, KTHREAD_BIG_STACK,
					 NUMA_NO_NODE, "big");
	KUNIT_ASSERT_FALSE(test, IS_ERR(t));
	wake_up_process(t);
	wait_for_completion(&seen.done);
	KUNIT_EXPECT_EQ(test, seen.class, STACK_CLASS_KTHREAD_BIG);
	KUNIT_EXPECT_EQ(test, seen.mapped, 8);

	t = kthread_create_flags_on_node(look_fn, &seen, ~0U, NUMA_NO_NODE, "bad");
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(t), -EINVAL);
}

static void worker_look(struct kthread_work *work)
{
}

static void kthread_worker_class(struct kunit *test)
{
	struct kthread_worker *worker = kthread_create_worker(KTW_BIG_STACK, "bigworker");
	struct kthread_work work;

	KUNIT_ASSERT_FALSE(test, IS_ERR(worker));
	kthread_init_work(&work, worker_look);
	kthread_queue_work(worker, &work);
	kthread_flush_work(&work);
	KUNIT_EXPECT_EQ(test, worker->task->stack_class, STACK_CLASS_KTHREAD_BIG);
	KUNIT_EXPECT_EQ(test, mapped_pages(worker->task->stack), 8);
	kthread_destroy_worker(worker);
}

/* Only what a user thread may be, and only for user threads. */
static void wanted_class_is_a_user_threads(struct kunit *test)
{
	struct task_struct *const tasks[] = { current, &init_task };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(tasks); i++) {
		u8 class = tasks[i]->stack_class;

		KUNIT_EXPECT_EQ(test, stack_policy_want_class(tasks[i], STACK_CLASS_TASK_BIG),
				-EOPNOTSUPP);
		KUNIT_EXPECT_EQ(test, stack_policy_want_class(tasks[i], STACK_CLASS_TASK),
				-EOPNOTSUPP);
		KUNIT_EXPECT_EQ(test, stack_policy_want_class(tasks[i], STACK_CLASS_MAX), -EINVAL);
		KUNIT_EXPECT_EQ(test, stack_policy_want_class(tasks[i], STACK_CLASS_IRQ), -EINVAL);
		KUNIT_EXPECT_EQ(test, stack_policy_want_class(tasks[i], STACK_CLASS_KVM_VCPU),
				-EINVAL);
		KUNIT_EXPECT_EQ(test, tasks[i]->stack_class, class);
	}
}

static int ensure_fn(void *data)
{
	struct seen *seen = data;

	seen->ensure_small = stack_ensure(256, GFP_KERNEL);
	seen->grows_ensure = current->kstack->grows[KSTACK_ENSURE];
	seen->ensure_big = stack_ensure(20 * 1024, GFP_KERNEL);
	seen->mapped = mapped_pages(current->stack);
	seen->ensure_too_big = stack_ensure(THREAD_SIZE, GFP_KERNEL);
	complete(&seen->done);
	return 0;
}

static void ensure_grows(struct kunit *test)
{
	struct seen seen = {};

	init_completion(&seen.done);
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(ensure_fn, &seen, "ensure")));
	wait_for_completion(&seen.done);
	KUNIT_EXPECT_EQ(test, seen.ensure_small, 0);
	KUNIT_EXPECT_EQ(test, seen.grows_ensure, 0);
	KUNIT_EXPECT_EQ(test, seen.ensure_big, 0);
	KUNIT_EXPECT_GE(test, seen.mapped, 6);
	KUNIT_EXPECT_EQ(test, seen.ensure_too_big, -EOVERFLOW);
}

static noinline bool recurse(unsigned long frame, size_t floor);

struct edges {
	struct completion done;
	int at_low, below_low, at_limit, past_limit;
	unsigned int mapped_at_low, mapped_below_low, mapped_at_limit;
	unsigned int limit_kb;
};

static int edges_fn(void *data)
{
	struct kstack *ks = current->kstack;
	unsigned long low = kstack_low(ks), top = (unsigned long)ks->base + THREAD_SIZE;
	struct edges *e = data;

	e->limit_kb = ks->limit / 1024;
	e->at_low = kstack_grow(ks, low, GFP_KERNEL, KSTACK_ENSURE);
	e->mapped_at_low = mapped_pages(ks->base);
	e->below_low = kstack_grow(ks, low - 1, GFP_KERNEL, KSTACK_ENSURE);
	e->mapped_below_low = mapped_pages(ks->base);
	e->past_limit = kstack_grow(ks, top - ks->limit - 1, GFP_KERNEL, KSTACK_ENSURE);
	e->at_limit = kstack_grow(ks, top - ks->limit, GFP_KERNEL, KSTACK_ENSURE);
	e->mapped_at_limit = mapped_pages(ks->base);
	complete(&e->done);
	return 0;
}

static int use_nine_kb_fn(void *data)
{
	struct seen *seen = data;

	recurse(0, THREAD_SIZE - 9 * 1024);
	seen->not_used = stack_policy_not_used(current);
	complete(&seen->done);
	return 0;
}

/* What is left is what the thread may still use, not what is left of the span. */
static void left_is_of_the_limit(struct kunit *test)
{
	struct stack_policy_entry row = { 12, 12 }, before = read_row(STACK_CLASS_KTHREAD);
	struct seen seen = {};

	init_completion(&seen.done);
	KUNIT_ASSERT_EQ(test, stack_policy_set_row(STACK_CLASS_KTHREAD, &row), 0);
	KUNIT_EXPECT_FALSE(test, IS_ERR(kthread_run(use_nine_kb_fn, &seen, "left")));
	wait_for_completion(&seen.done);
	KUNIT_EXPECT_EQ(test, stack_policy_set_row(STACK_CLASS_KTHREAD, &before), 0);
	KUNIT_EXPECT_LE(test, seen.not_used, 3 * 1024);
	KUNIT_EXPECT_GT(test, seen.not_used, 2 * 1024);
}

static u64 sum_vcpu_threads(struct stack_policy_stats *sum)
{
	stack_policy_sum_stats(STACK_CLASS_KVM_VCPU, sum);
	return sum->threads;
}

static int set_vcpu_fn(void *data)
{
	struct seen *seen = data;

	stack_policy_set_class(STACK_CLASS_KVM_VCPU);
	sum_vcpu_threads(&seen->during);
	complete(&seen->done);
	return 0;
}

/* 8 of at most 20 kB: to the byte at both ends, and past the limit nothing. */
static void grow_to_the_edges(struct kunit *test)
{
	struct stack_policy_entry row = { 8, 20 }, before = read_row(STACK_CLASS_KTHREAD);
	struct edges e = {};

	init_completion(&e.done);
	KUNIT_ASSERT_EQ(test, stack_policy_set_row(STACK_CLASS_KTHREAD, &row), 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(edges_fn, &e, "edges")));
	wait_for_completion(&e.done);
	KUNIT_EXPECT_EQ(test, stack_policy_set_row(STACK_CLASS_KTHREAD, &before), 0);
	KUNIT_EXPECT_EQ(test, e.limit_kb, 20);
	KUNIT_EXPECT_EQ(test, e.at_low, 0);
	KUNIT_EXPECT_EQ(test, e.mapped_at_low, 2);
	KUNIT_EXPECT_EQ(test, e.below_low, 0);
	KUNIT_EXPECT_EQ(test, e.mapped_below_low, 3);
	KUNIT_EXPECT_EQ(test, e.past_limit, -EOVERFLOW);
	KUNIT_EXPECT_EQ(test, e.at_limit, 0);
	KUNIT_EXPECT_EQ(test, e.mapped_at_limit, 5);
}

/*
 * A thread that comes and goes is counted, and its pages with it. No test before has
 * a thread of this class, which could end meanwhile.
 */
static void stats_balance(struct kunit *test)
{
	static struct stack_policy_stats before, after;
	struct seen seen = {};
	u64 nr;

	sum_vcpu_threads(&before);
	init_completion(&seen.done);
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(set_vcpu_fn, &seen, "balance")));
	wait_for_completion(&seen.done);
	read_poll_timeout(sum_vcpu_threads, nr, nr == before.threads, POLL_US, DEADLINE_US,
			  false, &after);
	KUNIT_EXPECT_EQ(test, after.threads, before.threads);
	KUNIT_EXPECT_EQ(test, after.mapped_kb, before.mapped_kb);
	KUNIT_EXPECT_EQ(test, after.grows_class, before.grows_class + 1);
	KUNIT_EXPECT_EQ(test, seen.during.threads, before.threads + 1);
	KUNIT_EXPECT_EQ(test, seen.during.mapped_kb, before.mapped_kb + 32);
}

/*
 * Frames with a pattern, down to @floor bytes above the end of the span: what
 * an interrupt needs before it switches stacks has to fit below. Wrong on the
 * way back: corrupted.
 */
static noinline bool recurse(unsigned long frame, size_t floor)
{
	volatile unsigned long pattern[48];
	bool ok = true;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pattern); i++)
		pattern[i] = frame * 0x10001UL + i;
	if (current_stack_pointer - (unsigned long)current->stack > floor)
		ok = recurse(frame + 1, floor);
	for (i = 0; i < ARRAY_SIZE(pattern); i++)
		ok &= pattern[i] == frame * 0x10001UL + i;
	return ok;
}

static int overflow_fn(void *data)
{
	struct seen *seen = data;

	seen->intact = recurse(0, PAGE_SIZE / 2);
	seen->grows_fault = kstack_faults(current->kstack);
	seen->grows_fault_deep = current->kstack->grows[KSTACK_FAULT_DEEP];
	seen->mapped = mapped_pages(current->stack);
	complete(&seen->done);
	return 0;
}

/* The reserve is full again once a refill could run. */
static void expect_full_reserve(struct kunit *test)
{
	unsigned int cpu, nr;

	for_each_online_cpu(cpu) {
		read_poll_timeout(kstack_reserve_count, nr, nr == KSTACK_RESERVE, POLL_US,
				  DEADLINE_US, false, cpu);
		KUNIT_EXPECT_EQ(test, nr, KSTACK_RESERVE);
	}
}

static void overflow_survives(struct kunit *test)
{
	static struct stack_policy_stats before, after;
	struct seen seen = {};
	unsigned int i;

	pr_info("overflow expected in deep\n");
	stack_policy_sum_stats(STACK_CLASS_KTHREAD, &before);
	for (i = 0; i < 50; i++) {
		init_completion(&seen.done);
		KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(overflow_fn, &seen, "deep")));
		wait_for_completion(&seen.done);
		KUNIT_EXPECT_TRUE(test, seen.intact);
		/* From 12 kB to 16, what stock has; and from there to 32. */
		KUNIT_EXPECT_EQ(test, seen.grows_fault, 5);
		KUNIT_EXPECT_EQ(test, seen.grows_fault_deep, 4);
		KUNIT_EXPECT_EQ(test, seen.mapped, 8);
	}
	stack_policy_sum_stats(STACK_CLASS_KTHREAD, &after);
	KUNIT_EXPECT_GE(test, after.grows_fault, before.grows_fault + 50 * 5);
	KUNIT_EXPECT_GE(test, after.grows_fault_deep, before.grows_fault_deep + 50 * 4);
	expect_full_reserve(test);
}

static int set_class_fn(void *data)
{
	struct seen *seen = data;

	seen->ensure_small = stack_policy_set_class(STACK_CLASS_KVM_VCPU);
	seen->class = current->stack_class;
	seen->mapped = mapped_pages(current->stack);
	complete(&seen->done);
	return 0;
}

static void set_class_populates(struct kunit *test)
{
	struct seen seen = {};

	init_completion(&seen.done);
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(set_class_fn, &seen, "promote")));
	wait_for_completion(&seen.done);
	KUNIT_EXPECT_EQ(test, seen.ensure_small, 0);
	KUNIT_EXPECT_EQ(test, seen.class, STACK_CLASS_KVM_VCPU);
	KUNIT_EXPECT_EQ(test, seen.mapped, 8);
}

struct elsewhere {
	struct irq_work work;
	bool on_thread_stack;
	int small, all, more;
	unsigned long remaining;
};

static void ask_elsewhere(struct irq_work *work)
{
	struct elsewhere *seen = container_of(work, struct elsewhere, work);

	seen->on_thread_stack = on_thread_stack();
	seen->remaining = stack_remaining();
	seen->small = stack_ensure(256, GFP_ATOMIC);
	seen->all = stack_ensure(seen->remaining - 1024, GFP_ATOMIC);
	seen->more = stack_ensure(seen->remaining + PAGE_SIZE, GFP_ATOMIC);
}

/* On the stack of interrupts the answer is what that has, whoever was interrupted. */
static void ensure_off_the_thread_stack(struct kunit *test)
{
	unsigned int grows = current->kstack->grows[KSTACK_ENSURE];
	struct elsewhere seen = { .work = IRQ_WORK_INIT_HARD(ask_elsewhere) };

	irq_work_queue(&seen.work);
	irq_work_sync(&seen.work);
	KUNIT_EXPECT_FALSE(test, seen.on_thread_stack);
	KUNIT_EXPECT_GT(test, seen.remaining, 1024);
	KUNIT_EXPECT_LT(test, seen.remaining, THREAD_SIZE);
	KUNIT_EXPECT_EQ(test, seen.small, 0);
	KUNIT_EXPECT_EQ(test, seen.all, 0);
	KUNIT_EXPECT_EQ(test, seen.more, -EOVERFLOW);
	KUNIT_EXPECT_EQ(test, current->kstack->grows[KSTACK_ENSURE], grows);
	KUNIT_EXPECT_LT(test, stack_remaining(), THREAD_SIZE);
}

/* The boot CPU's idle task has a static stack, and no guard page below. */
static void idle_task_keeps_its_end_magic(struct kunit *test)
{
	KUNIT_EXPECT_PTR_EQ(test, init_task.kstack, NULL);
	KUNIT_EXPECT_EQ(test, *end_of_stack(&init_task), STACK_END_MAGIC);
	KUNIT_EXPECT_FALSE(test, task_stack_end_corrupted(&init_task));
	KUNIT_EXPECT_FALSE(test, task_stack_end_corrupted(current));
}

/* It is linked in, and all there. */
static void first_task_has_its_stack(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, init_task.stack_low, (unsigned long)task_stack_page(&init_task));
}

static struct kunit_case stack_policy_cases[] = {
	KUNIT_CASE(parse_valid),
	KUNIT_CASE(parse_invalid),
	KUNIT_CASE(profiles_have_names),
	KUNIT_CASE(update_all_or_nothing),
	KUNIT_CASE(table_fits_its_text),
	KUNIT_CASE(row_update),
	KUNIT_CASE(class_selection),
	KUNIT_CASE(wanted_class_is_a_user_threads),
	KUNIT_CASE(kthread_classes),
	KUNIT_CASE(kthread_worker_class),
	KUNIT_CASE(ensure_grows),
	KUNIT_CASE(ensure_off_the_thread_stack),
	KUNIT_CASE(grow_to_the_edges),
	KUNIT_CASE(left_is_of_the_limit),
	KUNIT_CASE(stats_balance),
	KUNIT_CASE(overflow_survives),
	KUNIT_CASE(set_class_populates),
	KUNIT_CASE(idle_task_keeps_its_end_magic),
	KUNIT_CASE(first_task_has_its_stack),
	{}
};

static struct kunit_suite stack_policy_suite = {
	.name = "stack_policy",
	.test_cases = stack_policy_cases,
};
kunit_test_suite(stack_policy_suite);

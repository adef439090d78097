// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of how a cold thread is woken, frozen and thawed, one state at a time.
 * Included by kstack_wake.c.
 */
#include <kunit/test.h>

#include "kstack_test.h"

/* A kthread that sleeps in @state until it is stopped, and counts how often it ran. */
struct cold {
	unsigned int		state;
	struct task_struct	*task;
	struct kstack		*ks;
	unsigned int		runs;
	unsigned long		mapped;		/* when it ran last */
};

static int cold_fn(void *data)
{
	struct cold *c = data;

	for (;;) {
		set_current_state(c->state);
		if (kthread_should_stop())
			break;
		schedule();
		c->mapped = kstack_mapped(current->kstack);
		/* Pairs with the load in has_run(): the rest is there then. */
		smp_store_release(&c->runs, c->runs + 1);
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

static bool has_run(struct cold *c, unsigned int runs)
{
	unsigned int now;

	/* Pairs with the store in cold_fn(). */
	return !read_poll_timeout(smp_load_acquire, now, now == runs, POLL_US, DEADLINE_US,
				  false, &c->runs) && is_asleep(c->task);
}

static unsigned int trim_once(struct cold *c)
{
	unsigned int nr;

	if (!try_get_task_stack(c->task))
		return 0;
	nr = kstack_trim_blocked(c->task, anybody);
	put_task_stack(c->task);
	return nr;
}

static void start(struct kunit *test, struct cold *c, unsigned int state)
{
	unsigned int nr;

	*c = (struct cold){ .state = state };
	c->task = kthread_run(cold_fn, c, "cold");
	KUNIT_ASSERT_FALSE(test, IS_ERR(c->task));
	c->ks = c->task->kstack;
	KUNIT_ASSERT_TRUE(test, is_asleep(c->task));
	/* Somebody else, the watcher for one, may hold the stack at the moment. */
	read_poll_timeout(trim_once, nr, nr, POLL_US, DEADLINE_US, false, c);
	KUNIT_ASSERT_EQ(test, nr, 2);
	kstack_reclaim();
}

static void stop(struct cold *c)
{
	kthread_stop(c->task);
}

static int freeze_fn(struct task_struct *task, void *data)
{
	return stack_policy_freeze(task);
}

static int thaw_fn(struct task_struct *task, void *data)
{
	return stack_policy_thaw(task);
}

static bool frozen_by(struct cold *c)
{
	return task_call_func(c->task, freeze_fn, NULL) == TASK_FROZEN;
}

static bool is_frozen(const struct cold *c)
{
	return READ_ONCE(c->task->__state) & TASK_FROZEN;
}

/* As __thaw_task(). */
static void thaw(struct cold *c)
{
	if (!task_call_func(c->task, thaw_fn, NULL))
		wake_up_state(c->task, TASK_FROZEN);
}

/* What it slept in is what people see, and what it is woken by. */
static void sleeps_as_it_did(struct kunit *test)
{
	struct cold c;

	start(test, &c, TASK_INTERRUPTIBLE);
	KUNIT_EXPECT_EQ(test, c.task->__state, TASK_COLD);
	KUNIT_EXPECT_EQ(test, c.task->saved_state, TASK_INTERRUPTIBLE);
	KUNIT_EXPECT_EQ(test, stack_policy_sleep_state(c.task), TASK_INTERRUPTIBLE);
	KUNIT_EXPECT_EQ(test, task_state_to_char(c.task), 'S');
	KUNIT_EXPECT_TRUE(test, kstack_is_cold(c.ks));
	KUNIT_EXPECT_FALSE(test, wake_up_state(c.task, TASK_UNINTERRUPTIBLE));
	KUNIT_EXPECT_FALSE(test, wake_up_state(c.task, TASK_WAKEKILL));
	KUNIT_EXPECT_TRUE(test, kstack_is_cold(c.ks));
	KUNIT_EXPECT_TRUE(test, wake_up_state(c.task, TASK_INTERRUPTIBLE));
	KUNIT_EXPECT_TRUE(test, has_run(&c, 1));
	KUNIT_EXPECT_EQ(test, c.mapped, 12 * 1024);
	KUNIT_EXPECT_EQ(test, c.task->saved_state, TASK_RUNNING);
	stop(&c);
}

/* Who has seen it sleep, and waits until it has left its CPU, need not wait for its end. */
static void inactive_while_it_is_cold(struct kunit *test)
{
	struct cold c;

	start(test, &c, TASK_INTERRUPTIBLE);
	KUNIT_EXPECT_NE(test, wait_task_inactive(c.task, TASK_INTERRUPTIBLE), 0);
	KUNIT_EXPECT_NE(test, wait_task_inactive(c.task, TASK_COLD), 0);
	KUNIT_EXPECT_NE(test, wait_task_inactive(c.task, TASK_ANY), 0);
	KUNIT_EXPECT_EQ(test, wait_task_inactive(c.task, TASK_UNINTERRUPTIBLE), 0);
	stop(&c);
}

static void frozen_and_cold(struct kunit *test)
{
	struct cold c;

	start(test, &c, TASK_INTERRUPTIBLE | TASK_FREEZABLE);
	KUNIT_EXPECT_TRUE(test, frozen_by(&c));
	KUNIT_EXPECT_TRUE(test, is_frozen(&c));
	KUNIT_EXPECT_EQ(test, c.task->__state, TASK_COLD | TASK_FROZEN);
	KUNIT_EXPECT_EQ(test, task_state_to_char(c.task), 'D');
	/* Nobody has woken it: it sleeps on, and is cold still. */
	thaw(&c);
	KUNIT_EXPECT_FALSE(test, is_frozen(&c));
	KUNIT_EXPECT_EQ(test, c.task->__state, TASK_COLD);
	KUNIT_EXPECT_TRUE(test, kstack_is_cold(c.ks));
	KUNIT_EXPECT_EQ(test, READ_ONCE(c.runs), 0);
	KUNIT_EXPECT_TRUE(test, wake_up_process(c.task));
	KUNIT_EXPECT_TRUE(test, has_run(&c, 1));
	KUNIT_EXPECT_EQ(test, c.mapped, 12 * 1024);
	stop(&c);
}

static void woken_while_frozen(struct kunit *test)
{
	struct cold c;

	start(test, &c, TASK_INTERRUPTIBLE | TASK_FREEZABLE);
	KUNIT_EXPECT_TRUE(test, frozen_by(&c));
	KUNIT_EXPECT_TRUE(test, wake_up_process(c.task));
	KUNIT_EXPECT_FALSE(test, wake_up_process(c.task));
	/* Noted, and nothing else. */
	KUNIT_EXPECT_TRUE(test, is_frozen(&c));
	KUNIT_EXPECT_TRUE(test, kstack_is_cold(c.ks));
	KUNIT_EXPECT_EQ(test, READ_ONCE(c.runs), 0);
	thaw(&c);
	KUNIT_EXPECT_TRUE(test, has_run(&c, 1));
	KUNIT_EXPECT_EQ(test, c.mapped, 12 * 1024);
	stop(&c);
}

static void not_every_sleep_is_frozen(struct kunit *test)
{
	struct cold c;

	start(test, &c, TASK_INTERRUPTIBLE);
	KUNIT_EXPECT_FALSE(test, frozen_by(&c));
	KUNIT_EXPECT_EQ(test, c.task->__state, TASK_COLD);
	stop(&c);
}

static bool not_at_all(struct task_struct *task)
{
	return false;
}

static bool warm(struct cold *c, kstack_may_trim_fn must)
{
	bool is = false;

	if (try_get_task_stack(c->task)) {
		is = kstack_warm(c->task, must);
		put_task_stack(c->task);
	}
	return is;
}

/* It goes on sleeping, with all of its stack, and can be trimmed again. */
static void completed_in_its_sleep(struct kunit *test)
{
	unsigned int nr;
	struct cold c;
	bool is;

	start(test, &c, TASK_INTERRUPTIBLE);
	KUNIT_EXPECT_FALSE(test, warm(&c, not_at_all));
	KUNIT_EXPECT_TRUE(test, kstack_is_cold(c.ks));
	read_poll_timeout(warm, is, is, POLL_US, DEADLINE_US, false, &c, anybody);
	KUNIT_EXPECT_FALSE(test, kstack_is_cold(c.ks));
	KUNIT_EXPECT_EQ(test, kstack_mapped(c.ks), 12 * 1024);
	KUNIT_EXPECT_EQ(test, c.task->__state, TASK_INTERRUPTIBLE);
	KUNIT_EXPECT_EQ(test, c.task->saved_state, TASK_RUNNING);
	KUNIT_EXPECT_FALSE(test, warm(&c, anybody));
	KUNIT_EXPECT_EQ(test, READ_ONCE(c.runs), 0);
	read_poll_timeout(trim_once, nr, nr, POLL_US, DEADLINE_US, false, &c);
	KUNIT_EXPECT_EQ(test, nr, 2);
	KUNIT_EXPECT_TRUE(test, wake_up_process(c.task));
	KUNIT_EXPECT_TRUE(test, has_run(&c, 1));
	stop(&c);
}

/* As the freezer left it. */
static void completed_while_frozen(struct kunit *test)
{
	struct cold c;
	bool is;

	start(test, &c, TASK_INTERRUPTIBLE | TASK_FREEZABLE);
	KUNIT_EXPECT_TRUE(test, frozen_by(&c));
	read_poll_timeout(warm, is, is, POLL_US, DEADLINE_US, false, &c, anybody);
	KUNIT_EXPECT_EQ(test, c.task->__state, TASK_FROZEN);
	KUNIT_EXPECT_EQ(test, c.task->saved_state, TASK_INTERRUPTIBLE | TASK_FREEZABLE);
	WRITE_ONCE(c.task->__state, c.task->saved_state);
	c.task->saved_state = TASK_RUNNING;
	stop(&c);
}

/* As if so many more pages were owed, and so many were taken: there is room for others. */
static void owe(long pages)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&wake_lock, flags);
	nr_owed += pages;
	nr_taken = max(pages, 0L);
	raw_spin_unlock_irqrestore(&wake_lock, flags);
}

/* Is @page in the pool? And is all of that zero? */
static bool in_pool(const struct page *page, bool *zero)
{
	struct pool *pool = &pools[page_to_nid(page)];
	struct page *other;
	unsigned long flags;
	bool found = false;

	*zero = true;
	raw_spin_lock_irqsave(&wake_lock, flags);
	list_for_each_entry(other, &pool->pages, lru) {
		found |= other == page;
		*zero &= !memchr_inv(page_address(other), 0, PAGE_SIZE);
	}
	raw_spin_unlock_irqrestore(&wake_lock, flags);
	return found;
}

/*
 * What a stack gives back goes to others as it is if nobody has written there, and
 * never with what was.
 */
static void nobody_gets_what_was_written(struct kunit *test)
{
	struct cold c = { .state = TASK_UNINTERRUPTIBLE };
	struct page *clean, *written;
	unsigned long low;
	unsigned int nr;
	bool zero;

	c.task = kthread_run(cold_fn, &c, "cold");
	KUNIT_ASSERT_FALSE(test, IS_ERR(c.task));
	c.ks = c.task->kstack;
	KUNIT_ASSERT_TRUE(test, is_asleep(c.task));
	low = kstack_low(c.ks);
	clean = pte_page(*kstack_ptep(c.ks, low));
	written = pte_page(*kstack_ptep(c.ks, low + PAGE_SIZE));
	KUNIT_ASSERT_FALSE(test, arch_kstack_pte_written(*kstack_ptep(c.ks, low)));
	/* Far below what it uses. */
	memset((void *)low + PAGE_SIZE, 0xa5, 64);

	owe(1000);
	read_poll_timeout(trim_once, nr, nr, POLL_US, DEADLINE_US, false, &c);
	KUNIT_EXPECT_EQ(test, nr, 2);
	kstack_reclaim();
	KUNIT_EXPECT_TRUE(test, in_pool(clean, &zero));
	KUNIT_EXPECT_TRUE(test, zero);
	/* Not before it was zeroed, by the allocator. */
	in_pool(written, &zero);
	KUNIT_EXPECT_TRUE(test, zero);
	owe(-1000);
	pool_shrink();
	stop(&c);
}

static struct kunit_case kstack_wake_test_cases[] = {
	KUNIT_CASE(sleeps_as_it_did),
	KUNIT_CASE(inactive_while_it_is_cold),
	KUNIT_CASE(frozen_and_cold),
	KUNIT_CASE(woken_while_frozen),
	KUNIT_CASE(not_every_sleep_is_frozen),
	KUNIT_CASE(completed_in_its_sleep),
	KUNIT_CASE(completed_while_frozen),
	KUNIT_CASE(nobody_gets_what_was_written),
	{}
};

static struct kunit_suite kstack_wake_test_suite = {
	.name = "stack_policy_wake",
	.test_cases = kstack_wake_test_cases,
};
kunit_test_suite(kstack_wake_test_suite);

// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of how stack memory is given back, one transition at a time.
 * Included by kstack_trim.c.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/smp.h>
#include <linux/uaccess.h>

#include "kstack_test.h"

#define POISON		0xa5a5a5a5a5a5a5a5UL

/* A kthread that sleeps, and after each wake-up looks at its stack. */
struct sleeper {
	struct task_struct	*task;
	struct kstack		*ks;
	unsigned int		rounds;		/* that it has slept through */
	unsigned long		mapped;		/* when it had trimmed itself */
	unsigned long		before[KSTACK_PAGES], after[KSTACK_PAGES];
	bool			flag;		/* TIF_KSTACK, when it ran */
	size_t			ensure;		/* ask for that first */
};

static void note_pfns(const struct kstack *ks, unsigned long *pfns)
{
	unsigned int slot;

	for (slot = 0; slot < KSTACK_PAGES; slot++)
		pfns[slot] = pte_present(kstack_slot(ks, slot)) ?
			pte_pfn(kstack_slot(ks, slot)) : 0;
}

static int sleeper_fn(void *data)
{
	struct sleeper *s = data;

	if (s->ensure)
		stack_ensure(s->ensure, GFP_KERNEL);
	for (;;) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		if (kthread_should_stop())
			break;
		schedule();
		note_pfns(current->kstack, s->after);
		s->flag = test_thread_flag(TIF_KSTACK);
		/* Pairs with the loads in wake(): the rest is there then. */
		smp_store_release(&s->rounds, s->rounds + 1);
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

static void start(struct kunit *test, struct sleeper *s)
{
	s->task = kthread_run(sleeper_fn, s, "sleeper");
	KUNIT_ASSERT_FALSE(test, IS_ERR(s->task));
	s->ks = s->task->kstack;
	KUNIT_ASSERT_TRUE(test, is_asleep(s->task));
	note_pfns(s->ks, s->before);
}

static void stop(struct sleeper *s)
{
	kthread_stop(s->task);
}

static bool nobody(struct task_struct *task)
{
	return false;
}

/* As the watcher does. */
static unsigned int trim_once(struct sleeper *s)
{
	unsigned int nr;

	if (!try_get_task_stack(s->task))
		return 0;
	nr = kstack_trim_blocked(s->task, anybody);
	put_task_stack(s->task);
	return nr;
}

/* Somebody else, the watcher for one, may hold the stack at the moment. */
static unsigned int trim(struct sleeper *s)
{
	unsigned int nr;

	read_poll_timeout(trim_once, nr, nr, POLL_US, DEADLINE_US, false, s);
	return nr;
}

static bool wake(struct sleeper *s)
{
	unsigned int rounds = s->rounds, now;

	wake_up_process(s->task);
	/* Pairs with the store in sleeper_fn(). */
	return !read_poll_timeout(smp_load_acquire, now, now != rounds, POLL_US, DEADLINE_US,
				  false, &s->rounds) && is_asleep(s->task);
}

static void retained_keeps_the_page(struct kunit *test)
{
	struct page *page = alloc_page(GFP_KERNEL);
	pte_t pte;

	KUNIT_ASSERT_NOT_NULL(test, page);
	pte = mk_pte(page, PAGE_KERNEL);
	KUNIT_EXPECT_FALSE(test, arch_kstack_pte_retained(pte));
	KUNIT_EXPECT_FALSE(test, arch_kstack_pte_retained(__pte(0)));
	pte = arch_kstack_mk_retained(pte, false);
	KUNIT_EXPECT_FALSE(test, pte_present(pte));
	KUNIT_EXPECT_FALSE(test, pte_none(pte));
	KUNIT_EXPECT_TRUE(test, arch_kstack_pte_retained(pte));
	KUNIT_EXPECT_FALSE(test, arch_kstack_pte_asked(pte));
	KUNIT_EXPECT_PTR_EQ(test, pte_page(pte), page);
	/* What the hardware could speculate on is not the page. */
	KUNIT_EXPECT_NE(test, (pte.pte & PTE_PFN_MASK) >> PAGE_SHIFT, page_to_pfn(page));
	pte = arch_kstack_mk_retained(pte, true);
	KUNIT_EXPECT_TRUE(test, arch_kstack_pte_asked(pte));
	KUNIT_EXPECT_PTR_EQ(test, pte_page(pte), page);
	/* As it is remembered whether it was written. */
	KUNIT_EXPECT_TRUE(test, arch_kstack_pte_written(pte));
	KUNIT_EXPECT_EQ(test, arch_kstack_mk_present(pte).pte, mk_pte(page, PAGE_KERNEL).pte);
	pte = arch_kstack_mk_zeroed(page);
	KUNIT_EXPECT_FALSE(test, arch_kstack_pte_written(pte));
	pte = arch_kstack_mk_retained(arch_kstack_mk_retained(pte, false), true);
	KUNIT_EXPECT_FALSE(test, arch_kstack_pte_written(pte));
	KUNIT_EXPECT_EQ(test, arch_kstack_mk_present(pte).pte, arch_kstack_mk_zeroed(page).pte);
	__free_page(page);
}

static void trimmed_to_what_it_uses(struct kunit *test)
{
	struct sleeper s = {};

	start(test, &s);
	mutex_lock(&reclaim_mutex);
	KUNIT_EXPECT_EQ(test, kstack_mapped(s.ks), 12 * 1024);
	KUNIT_EXPECT_EQ(test, trim(&s), 2);
	KUNIT_EXPECT_EQ(test, kstack_mapped(s.ks), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, s.task->stack_low, kstack_low(s.ks));
	KUNIT_EXPECT_EQ(test, kstack_retained(s.ks), 2);
	KUNIT_EXPECT_EQ(test, s.ks->want, 12 * 1024);
	KUNIT_EXPECT_TRUE(test, test_tsk_thread_flag(s.task, TIF_KSTACK));
	KUNIT_EXPECT_TRUE(test, kstack_listed(s.ks));
	KUNIT_EXPECT_EQ(test, trim_once(&s), 0);
	mutex_unlock(&reclaim_mutex);
	stop(&s);
}

static void woken_takes_its_pages_back(struct kunit *test)
{
	struct sleeper s = {};

	start(test, &s);
	mutex_lock(&reclaim_mutex);
	KUNIT_EXPECT_EQ(test, trim(&s), 2);
	KUNIT_EXPECT_TRUE(test, wake(&s));
	KUNIT_EXPECT_MEMEQ(test, s.before, s.after, sizeof(s.before));
	KUNIT_EXPECT_FALSE(test, s.flag);
	KUNIT_EXPECT_EQ(test, s.task->stack_low, kstack_low(s.ks));
	KUNIT_EXPECT_EQ(test, s.ks->want, 0);
	mutex_unlock(&reclaim_mutex);
	stop(&s);
}

static void reclaimed_is_replaced(struct kunit *test)
{
	unsigned int slot, accounted;
	struct sleeper s = {};

	start(test, &s);
	KUNIT_EXPECT_EQ(test, trim(&s), 2);
	kstack_reclaim();
	KUNIT_EXPECT_EQ(test, kstack_retained(s.ks), 0);
	KUNIT_EXPECT_FALSE(test, kstack_listed(s.ks));
	KUNIT_EXPECT_TRUE(test, pte_none(kstack_slot(s.ks, KSTACK_PAGES - 2)));
	KUNIT_EXPECT_EQ(test, hweight8(s.ks->accounted), 1);
	KUNIT_EXPECT_TRUE(test, wake(&s));
	for (slot = KSTACK_PAGES - 3; slot < KSTACK_PAGES; slot++)
		KUNIT_EXPECT_NE(test, s.after[slot], 0);
	KUNIT_EXPECT_FALSE(test, s.flag);
	/* By the refill, an interrupt later, or by its worker. */
	read_poll_timeout(hweight8, accounted, accounted == 3, POLL_US, DEADLINE_US, false,
			  READ_ONCE(s.ks->accounted));
	KUNIT_EXPECT_EQ(test, accounted, 3);
	stop(&s);
}

/* Reclaim has begun, and the thread is faster. */
static void asked_can_be_taken_back(struct kunit *test)
{
	unsigned long from = ULONG_MAX, to = 0;
	struct sleeper s = {};

	start(test, &s);
	mutex_lock(&reclaim_mutex);
	KUNIT_EXPECT_EQ(test, trim(&s), 2);
	kstack_mark_asked(s.ks, &from, &to);
	KUNIT_EXPECT_TRUE(test, arch_kstack_pte_asked(kstack_slot(s.ks, KSTACK_PAGES - 2)));
	KUNIT_EXPECT_EQ(test, to - from, THREAD_SIZE);
	KUNIT_EXPECT_TRUE(test, wake(&s));
	KUNIT_EXPECT_MEMEQ(test, s.before, s.after, sizeof(s.before));
	KUNIT_EXPECT_EQ(test, kstack_free_asked(s.ks), 0);
	/* And slept again: unmapped after the flush began. */
	KUNIT_EXPECT_EQ(test, trim(&s), 2);
	KUNIT_EXPECT_EQ(test, kstack_free_asked(s.ks), 0);
	KUNIT_EXPECT_EQ(test, kstack_retained(s.ks), 2);
	/* So it is for the next reclaim. */
	kstack_relist_or_remove(s.ks);
	KUNIT_EXPECT_TRUE(test, kstack_listed(s.ks));
	/* Not before it was asked for. */
	kstack_mark_asked(s.ks, &from, &to);
	flush_tlb_kernel_range(from, to);
	KUNIT_EXPECT_EQ(test, kstack_free_asked(s.ks), 2);
	KUNIT_EXPECT_EQ(test, kstack_free_asked(s.ks), 0);
	kstack_relist_or_remove(s.ks);
	KUNIT_EXPECT_FALSE(test, kstack_listed(s.ks));
	mutex_unlock(&reclaim_mutex);
	stop(&s);
}

static void pinned_is_not_trimmed(struct kunit *test)
{
	struct sleeper s = {};

	start(test, &s);
	KUNIT_ASSERT_NOT_NULL(test, try_get_task_stack(s.task));
	KUNIT_EXPECT_EQ(test, trim_once(&s), 0);
	KUNIT_EXPECT_EQ(test, kstack_mapped(s.ks), 12 * 1024);
	KUNIT_EXPECT_EQ(test, s.task->stack_low, kstack_low(s.ks));
	put_task_stack(s.task);
	KUNIT_EXPECT_EQ(test, trim(&s), 2);
	stop(&s);
}

static void running_is_not_trimmed(struct kunit *test)
{
	unsigned long mapped = kstack_mapped(current->kstack);

	KUNIT_ASSERT_NOT_NULL(test, try_get_task_stack(current));
	KUNIT_EXPECT_EQ(test, kstack_trim_blocked(current, anybody), 0);
	put_task_stack(current);
	KUNIT_EXPECT_EQ(test, kstack_mapped(current->kstack), mapped);
}

static void who_may_not_is_not_trimmed(struct kunit *test)
{
	struct sleeper s = {};

	start(test, &s);
	KUNIT_ASSERT_NOT_NULL(test, try_get_task_stack(s.task));
	KUNIT_EXPECT_EQ(test, kstack_trim_blocked(s.task, nobody), 0);
	put_task_stack(s.task);
	KUNIT_EXPECT_EQ(test, trim(&s), 2);
	stop(&s);
}

/* As if it had been forked and never woken; as if it reclaimed memory. */
static void new_and_reclaiming_are_not_trimmed(struct kunit *test)
{
	struct sleeper s = {};

	start(test, &s);
	WRITE_ONCE(s.task->__state, TASK_NEW);
	KUNIT_EXPECT_EQ(test, trim_once(&s), 0);
	WRITE_ONCE(s.task->__state, TASK_UNINTERRUPTIBLE);
	s.task->flags |= PF_MEMALLOC;
	KUNIT_EXPECT_EQ(test, trim_once(&s), 0);
	s.task->flags &= ~PF_MEMALLOC;
	KUNIT_EXPECT_EQ(test, trim(&s), 2);
	stop(&s);
}

static struct kstack_size size_of(const struct kstack *ks)
{
	return (struct kstack_size){ ks->populate, ks->limit, ks->trim_cold };
}

static struct kstack *alloc_for(struct kunit *test, struct task_struct *task)
{
	KUNIT_ASSERT_EQ(test, kstack_alloc(task, NUMA_NO_NODE, size_of(current->kstack),
					   current->kstack->stats), 0);
	return task->kstack;
}

/*
 * A thread that dies in a recursive oops never settles its accounts. Whoever has its
 * stack next is to be charged for it. Three stacks empty this CPU's cache.
 */
static void accounts_left_open_are_not_inherited(struct kunit *test)
{
	struct task_struct *task = kunit_kcalloc(test, 4, sizeof(*task), GFP_KERNEL);
	struct kstack *ks[4];
	int i;

	KUNIT_ASSERT_NOT_NULL(test, task);
	migrate_disable();
	for (i = 0; i < 3; i++)
		ks[i] = alloc_for(test, &task[i]);
	kstack_free(ks[0]);
	ks[3] = alloc_for(test, &task[3]);
	migrate_enable();
	KUNIT_EXPECT_PTR_NE(test, ks[3], ks[0]);
	for (i = 1; i < 4; i++) {
		KUNIT_EXPECT_EQ(test, hweight8(ks[i]->accounted), 3);
		kstack_account_exit(ks[i]);
		KUNIT_EXPECT_EQ(test, ks[i]->accounted, 0);
		kstack_free(ks[i]);
	}
}

/* It has asked for more than it had at creation. */
static void woken_has_what_it_asked_for(struct kunit *test)
{
	struct sleeper s = { .ensure = 20000 };
	unsigned long mapped;

	start(test, &s);
	mapped = kstack_mapped(s.ks);
	KUNIT_EXPECT_GE(test, mapped, 20000);
	KUNIT_EXPECT_EQ(test, trim(&s), mapped / PAGE_SIZE - 1);
	kstack_reclaim();
	KUNIT_EXPECT_TRUE(test, wake(&s));
	KUNIT_EXPECT_EQ(test, kstack_mapped(s.ks), mapped);
	stop(&s);
}

/*
 * A word that came in by another door tells whether a page was read. Grown
 * pages are fresh, those of a cached stack need not be.
 */
static void only_written_pages_are_read(struct kunit *test)
{
	struct sleeper s = { .ensure = 20000 };
	unsigned long *word, *door, used;
	unsigned int slot;

	start(test, &s);
	KUNIT_ASSERT_GE(test, kstack_mapped(s.ks), 20000);
	slot = KSTACK_PAGES - kstack_mapped(s.ks) / PAGE_SIZE;
	mutex_lock(&reclaim_mutex);
	word = (unsigned long *)kstack_low(s.ks);
	door = page_address(pte_page(kstack_slot(s.ks, slot)));
	used = kstack_high_water(s.ks);
	KUNIT_EXPECT_LT(test, used, kstack_mapped(s.ks) - PAGE_SIZE);
	WRITE_ONCE(*door, POISON);
	KUNIT_EXPECT_EQ(test, kstack_high_water(s.ks), used);
	/* Taken back it is as it was. */
	KUNIT_EXPECT_GT(test, trim(&s), 0);
	KUNIT_EXPECT_TRUE(test, wake(&s));
	KUNIT_EXPECT_FALSE(test, arch_kstack_pte_written(kstack_slot(s.ks, slot)));
	KUNIT_EXPECT_LT(test, kstack_high_water(s.ks), kstack_mapped(s.ks) - PAGE_SIZE);
	/* By its own door, and to the page above. */
	WRITE_ONCE(*word, 0);
	KUNIT_EXPECT_TRUE(test, arch_kstack_pte_written(kstack_slot(s.ks, slot)));
	WRITE_ONCE(word[PAGE_SIZE / sizeof(*word)], POISON);
	/* Who looked a moment ago has taken note of what was deeper. */
	WRITE_ONCE(s.ks->high, 0);
	KUNIT_EXPECT_EQ(test, kstack_high_water(s.ks), kstack_mapped(s.ks) - PAGE_SIZE);
	mutex_unlock(&reclaim_mutex);
	stop(&s);
}

static void written_once_is_read(struct kunit *test)
{
	struct sleeper s = { .ensure = 20000 };
	unsigned long *word;

	start(test, &s);
	word = (unsigned long *)kstack_low(s.ks);
	WRITE_ONCE(word[1], POISON);
	KUNIT_EXPECT_EQ(test, kstack_high_water(s.ks), kstack_mapped(s.ks) - sizeof(*word));
	stop(&s);
}

/* A stack for nobody, of a size that threads have. */
static struct kstack *alloc_stack(struct kunit *test, struct task_struct *task)
{
	struct kstack *own = current->kstack;

	KUNIT_ASSERT_EQ(test, kstack_alloc(task, NUMA_NO_NODE, size_of(own), own->stats), 0);
	return task->kstack;
}

static void free_stack(struct kstack *ks)
{
	kstack_account_exit(ks);
	kstack_free(ks);
}

static void used_again_is_all_zeros(struct kunit *test)
{
	struct task_struct *task = kunit_kzalloc(test, 4 * sizeof(*task), GFP_KERNEL);
	struct kstack *first, *again, *others[2];
	unsigned int tries = 0, i;
	unsigned long *low;

	KUNIT_ASSERT_NOT_NULL(test, task);
	do {
		migrate_disable();
		/* There are two in the cache, unless they are taken. */
		for (i = 0; i < 2; i++)
			others[i] = alloc_stack(test, &task[i]);
		first = alloc_stack(test, &task[2]);
		low = (unsigned long *)kstack_low(first);
		memset64((u64 *)(kstack_top(first) - 256), POISON, 256 / sizeof(u64));
		if (tries % 2)
			WRITE_ONCE(*low, POISON);
		free_stack(first);
		again = alloc_stack(test, &task[3]);
		if (again == first)
			KUNIT_EXPECT_NULL(test, memchr_inv(low, 0, kstack_mapped(first)));
		free_stack(again);
		for (i = 0; i < 2; i++)
			free_stack(others[i]);
		migrate_enable();
	} while (tries++ < 100 && (again != first || tries < 2));
	KUNIT_EXPECT_PTR_EQ(test, again, first);
}

/* As on the way to user mode. Not while somebody else looks: then there will be a next time. */
static void trim_own_excess(void)
{
	struct kstack *ks = current->kstack;

	for (;;) {
		kstack_trim_current(ks, 1);
		if (kstack_mapped(ks) <= ks->populate)
			return;
		cond_resched();
	}
}

/* As on the way to user mode, but a kthread can be watched. */
static int excess_fn(void *data)
{
	struct kstack *ks = current->kstack;
	struct sleeper *s = data;

	stack_ensure(20000, GFP_KERNEL);
	note_pfns(ks, s->before);
	trim_own_excess();
	s->mapped = kstack_mapped(ks);
	s->rounds = kstack_retained(ks);
	s->flag = test_thread_flag(TIF_KSTACK) && ks->flushed_cpu == raw_smp_processor_id();
	stack_ensure(20000, GFP_KERNEL);
	note_pfns(ks, s->after);
	return sleep_until_stopped();
}

static void excess_is_retained_and_taken_back(struct kunit *test)
{
	struct sleeper s = {};

	s.task = kthread_create(excess_fn, &s, "excess");
	KUNIT_ASSERT_FALSE(test, IS_ERR(s.task));
	mutex_lock(&reclaim_mutex);
	kthread_bind(s.task, 0);
	wake_up_process(s.task);
	KUNIT_EXPECT_TRUE(test, is_asleep(s.task));
	KUNIT_EXPECT_EQ(test, s.mapped, 12 * 1024);
	KUNIT_EXPECT_GE(test, s.rounds, 2);
	KUNIT_EXPECT_TRUE(test, s.flag);
	KUNIT_EXPECT_MEMEQ(test, s.before, s.after, sizeof(s.before));
	mutex_unlock(&reclaim_mutex);
	stop(&s);
}

/* What a CPU makes of an address: 0 if it has a translation, or -EFAULT. */
static int read_here(void *addr)
{
	unsigned long word;

	return copy_from_kernel_nofault(&word, addr, sizeof(word));
}

static int read_on(int cpu, unsigned long addr)
{
	return smp_call_on_cpu(cpu, read_here, (void *)addr, false);
}

/* After reclaim no CPU translates the address any more. */
static void all_cpus_forget(struct kunit *test)
{
	struct sleeper s = {};
	unsigned long addr;
	int cpu;

	start(test, &s);
	addr = kstack_low(s.ks);
	for_each_online_cpu(cpu)
		KUNIT_EXPECT_EQ(test, read_on(cpu, addr), 0);
	KUNIT_EXPECT_EQ(test, trim(&s), 2);
	kstack_reclaim();
	for_each_online_cpu(cpu)
		KUNIT_EXPECT_EQ(test, read_on(cpu, addr), -EFAULT);
	stop(&s);
}

/* A thread that grew on CPU @grew, trims itself on @trims, and runs on @runs. */
struct wanderer {
	int			grew, trims, runs;
	int			there;		/* is the address, for that CPU? */
	bool			moved;
	struct completion	done;
};

static bool move_to(int cpu)
{
	return !set_cpus_allowed_ptr(current, cpumask_of(cpu)) &&
	       raw_smp_processor_id() == cpu;
}

static int wanderer_fn(void *data)
{
	struct kstack *ks = current->kstack;
	struct wanderer *w = data;
	unsigned long addr;

	w->moved = move_to(w->grew);
	stack_ensure(20000, GFP_KERNEL);
	addr = kstack_low(ks);
	w->moved &= !read_here((void *)addr);
	w->moved &= move_to(w->trims);
	trim_own_excess();
	w->moved &= move_to(w->runs);
	w->there = read_here((void *)addr);
	complete(&w->done);
	return 0;
}

static void wander(struct kunit *test, int grew, int trims, int runs)
{
	struct wanderer w = { .grew = grew, .trims = trims, .runs = runs };
	struct task_struct *task;

	init_completion(&w.done);
	task = kthread_run(wanderer_fn, &w, "wanderer");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	wait_for_completion(&w.done);
	KUNIT_EXPECT_TRUE(test, w.moved);
	KUNIT_EXPECT_EQ(test, w.there, -EFAULT);
}

/* The CPU that it was trimmed on. */
static void own_cpu_forgets(struct kunit *test)
{
	wander(test, 0, 0, 0);
}

/* One where it ran when it was deep. Reclaim, and its flush, stay out of it. */
static void next_cpu_forgets(struct kunit *test)
{
	unsigned int i;

	if (num_online_cpus() < 2)
		kunit_skip(test, "one CPU");
	mutex_lock(&reclaim_mutex);
	for (i = 0; i < 20; i++)
		wander(test, 1, 0, 1);
	mutex_unlock(&reclaim_mutex);
}

static int drop_and_exit_fn(void *data)
{
	unsigned int *retained = data;

	stack_ensure(20000, GFP_KERNEL);
	trim_own_excess();
	WRITE_ONCE(*retained, kstack_retained(current->kstack));
	return 0;
}

/* They are freed with the stack, and it is not used again. */
static void exit_with_retained_pages(struct kunit *test)
{
	static unsigned int retained;
	struct task_struct *task;
	unsigned int users;
	long before, now;

	retained = 0;
	kstack_reclaim();
	before = atomic_long_read(&nr_retained);
	task = kthread_create(drop_and_exit_fn, &retained, "exit");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	mutex_lock(&reclaim_mutex);
	get_task_struct(task);
	wake_up_process(task);
	/* Its stack waits for the mutex now. */
	read_poll_timeout(refcount_read, users, !users, POLL_US, DEADLINE_US, false,
			  &task->stack_refcount);
	KUNIT_EXPECT_EQ(test, users, 0);
	put_task_struct(task);
	KUNIT_EXPECT_GE(test, READ_ONCE(retained), 2);
	KUNIT_EXPECT_GE(test, atomic_long_read(&nr_retained), before + 2);
	mutex_unlock(&reclaim_mutex);
	read_poll_timeout(atomic_long_read, now, now <= before, POLL_US, DEADLINE_US, false,
			  &nr_retained);
	KUNIT_EXPECT_LE(test, now, before);
}

static void shrinker_frees(struct kunit *test)
{
	struct sleeper s = {};

	start(test, &s);
	KUNIT_EXPECT_EQ(test, trim(&s), 2);
	KUNIT_EXPECT_GE(test, kstack_shrink_count(NULL, NULL) + !kstack_retained(s.ks) * 2, 2);
	kstack_shrink_scan(NULL, NULL);
	KUNIT_EXPECT_EQ(test, kstack_retained(s.ks), 0);
	stop(&s);
}

/* Another CPU writes to a sleeper's stack: that part is not trimmed. */
struct waiter {
	struct completion	*done;
	struct completion	ready;
	bool			woken;
};

static int waiter_fn(void *data)
{
	DECLARE_COMPLETION_ONSTACK(done);
	struct waiter *w = data;

	w->done = &done;
	complete(&w->ready);
	wait_for_completion(&done);
	w->woken = true;
	complete(&w->ready);
	return 0;
}

static void objects_on_a_trimmed_stack(struct kunit *test)
{
	struct task_struct *task;
	struct sleeper s = {};
	struct waiter w = {};

	init_completion(&w.ready);
	task = kthread_run(waiter_fn, &w, "waiter");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	wait_for_completion(&w.ready);
	KUNIT_ASSERT_TRUE(test, is_asleep(task));
	s.task = task;
	KUNIT_EXPECT_EQ(test, trim(&s), 2);
	kstack_reclaim();
	reinit_completion(&w.ready);
	complete(w.done);
	wait_for_completion(&w.ready);
	KUNIT_EXPECT_TRUE(test, w.woken);
}

static struct kunit_case kstack_test_cases[] = {
	KUNIT_CASE(retained_keeps_the_page),
	KUNIT_CASE(trimmed_to_what_it_uses),
	KUNIT_CASE(woken_takes_its_pages_back),
	KUNIT_CASE(reclaimed_is_replaced),
	KUNIT_CASE(asked_can_be_taken_back),
	KUNIT_CASE(pinned_is_not_trimmed),
	KUNIT_CASE(running_is_not_trimmed),
	KUNIT_CASE(who_may_not_is_not_trimmed),
	KUNIT_CASE(new_and_reclaiming_are_not_trimmed),
	KUNIT_CASE(accounts_left_open_are_not_inherited),
	KUNIT_CASE(woken_has_what_it_asked_for),
	KUNIT_CASE(only_written_pages_are_read),
	KUNIT_CASE(written_once_is_read),
	KUNIT_CASE(used_again_is_all_zeros),
	KUNIT_CASE(excess_is_retained_and_taken_back),
	KUNIT_CASE(all_cpus_forget),
	KUNIT_CASE(own_cpu_forgets),
	KUNIT_CASE(next_cpu_forgets),
	KUNIT_CASE(exit_with_retained_pages),
	KUNIT_CASE(shrinker_frees),
	KUNIT_CASE(objects_on_a_trimmed_stack),
	{}
};

static struct kunit_suite kstack_test_suite = {
	.name = "stack_policy_trim",
	.test_cases = kstack_test_cases,
};
kunit_test_suite(kstack_test_suite);

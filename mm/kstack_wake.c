// SPDX-License-Identifier: GPL-2.0
/*
 * A thread whose stack was trimmed while it slept has all of it back before it
 * becomes runnable. Who wakes it does that, with the stack's own pages and with those of
 * a pool. If there are not enough, the thread waits in a queue until somebody has
 * brought them: it starts late, and never runs short. How that fits into the
 * scheduler's states, and why it makes progress: "Waking up" in
 * Documentation/mm/stack-policy.rst.
 */
#define pr_fmt(fmt) "kstack: " fmt

#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/init.h>
#include <linux/kstack.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/stack_policy.h>
#include <linux/timekeeping.h>
#include <linux/topology.h>

#include "kstack.h"

/*
 * Pages that wake-ups can have at once: enough for one thread and a part of what is owed to
 * all, so that a machine with few cold threads does not keep what it has saved.
 */
#define POOL_MAX	(64 + 8 * num_possible_cpus())
#define POOL_PART	4
/* And so many times POOL_MAX of what stacks give back, if as much was taken before. */
#define POOL_GIVEN	3
/* More than this many are not zeroed in one interrupt. */
#define FILL_IN_IRQ	16
/* While there is no page to be had. */
#define RETRY		(HZ / 50 ?: 1)
#define PATIENCE_NS	(50 * NSEC_PER_MSEC)
/* Until then nobody is killed: who was woken on a busy machine sleeps again, and can give. */
#define LENIENCE_NS	NSEC_PER_SEC
#define COMPLAIN_NS	(10 * NSEC_PER_SEC)
/* So many of those that wait are looked at for one that is urgent by now. */
#define LOOK_AT		64

/* Protects what follows. Innermost: it is taken in wake-ups, below pi_lock. */
static DEFINE_RAW_SPINLOCK(wake_lock);
/* Zeroed pages, of each node as many, and of all of them. */
static struct pool {
	struct list_head	pages;
	unsigned int		nr;
} *pools __ro_after_init;
static unsigned int nr_pool;
/*
 * Stacks of threads that were woken and lack pages. First come, first served, but for who is
 * urgent. Somebody has waited, the same or another, since then.
 */
static LIST_HEAD(waiting);
static unsigned int nr_waiting;
static u64 waiting_since;
/* Pages that cold threads do not have and will get. */
static unsigned long nr_owed;
/* That wake-ups took since the last reclaim, and between that and the one before. */
static unsigned int nr_taken, nr_taken_before;
/* When one of those that wait was woken last. Written by hand_out_fn() only. */
static u64 last_woken;

static void hand_out_fn(struct kthread_work *work);
static void allocate_fn(struct kthread_work *work);

/* One that never waits for memory, and one that does, and then calls the OOM killer. */
static struct kthread_worker *hand_out_worker __ro_after_init;
static struct kthread_worker *allocate_worker __ro_after_init;
static DEFINE_KTHREAD_DELAYED_WORK(hand_out, hand_out_fn);
static DEFINE_KTHREAD_DELAYED_WORK(allocate, allocate_fn);

static unsigned long pool_target(void)
{
	unsigned long owed = READ_ONCE(nr_owed);

	/* Who waits is owed something. */
	return owed ? min_t(unsigned long, KSTACK_PAGES + owed / POOL_PART, POOL_MAX) : 0;
}

/* Fewer are filled up. Until then it is what stacks give back that does it. */
static unsigned long pool_least(void)
{
	unsigned long target = pool_target();

	return target - target / 4;
}

/* With what will be taken before the next reclaim, if that goes on as it did. */
static unsigned long pool_most(void)
{
	unsigned long next = min3(pool_least() + READ_ONCE(nr_taken_before),
				  READ_ONCE(nr_owed) / 2, 1UL * POOL_GIVEN * POOL_MAX);

	return max(pool_target(), next);
}

/* Of each node. */
static unsigned int pool_share(unsigned long pages)
{
	return DIV_ROUND_UP(pages, num_node_state(N_MEMORY));
}

/* Has some node less? */
static bool pool_is_below(unsigned long pages)
{
	unsigned int share = pool_share(pages);
	int node;

	for_each_node_state(node, N_MEMORY) {
		if (READ_ONCE(pools[node].nr) < share)
			return true;
	}
	return false;
}

static void pool_add(struct page *page, int node)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&wake_lock, flags);
	list_add(&page->lru, &pools[node].pages);
	pools[node].nr++;
	nr_pool++;
	raw_spin_unlock_irqrestore(&wake_lock, flags);
}

static struct page *pool_take_from(int node)
{
	struct page *page = list_first_entry_or_null(&pools[node].pages, struct page, lru);

	lockdep_assert_held(&wake_lock);
	if (page) {
		list_del(&page->lru);
		pools[node].nr--;
		nr_pool--;
	}
	return page;
}

/* Of @node, or of any if that has none. */
static struct page *pool_take(int node)
{
	struct page *page = pool_take_from(node);

	/* A node that has lost its memory may have pages of another in its pool. */
	if (!page && nr_pool) {
		for (node = 0; node < nr_node_ids && !page; node++)
			page = pool_take_from(node);
	}
	return page;
}

/*
 * *@nr pages at most, for @node, which shall have @share. False if one is missing that could
 * not be had.
 */
static bool pool_fill_node(int node, gfp_t gfp, unsigned int share, unsigned int *nr)
{
	/* Who reclaims may come here, and has leave to take the allocator's reserves. */
	if (!(gfp & __GFP_MEMALLOC))
		gfp |= __GFP_NOMEMALLOC;
	while (*nr && READ_ONCE(pools[node].nr) < share) {
		struct page *page = kstack_refill_fails() ? NULL :
			alloc_pages_node(node, gfp | __GFP_ZERO | __GFP_NOWARN, 0);

		if (!page)
			return false;
		pool_add(page, node);
		--*nr;
	}
	return true;
}

static bool pool_fill(gfp_t gfp, unsigned int nr)
{
	unsigned int share = pool_share(pool_target());
	int node;

	for_each_node_state(node, N_MEMORY) {
		if (!pool_fill_node(node, gfp, share, &nr))
			return false;
	}
	return true;
}

static struct page *pool_take_surplus(int node)
{
	struct page *page = NULL;
	unsigned long flags;

	raw_spin_lock_irqsave(&wake_lock, flags);
	if (pools[node].nr > pool_share(pool_most()))
		page = pool_take_from(node);
	raw_spin_unlock_irqrestore(&wake_lock, flags);
	return page;
}

/* What threads that have ended need no more. */
static void pool_shrink(void)
{
	struct page *page;
	int node;

	for (node = 0; node < nr_node_ids; node++) {
		while ((page = pool_take_surplus(node))) {
			__free_page(page);
			cond_resched();
		}
	}
}

static bool pool_has_surplus(void)
{
	return READ_ONCE(nr_pool) > pool_most() + num_node_state(N_MEMORY) - 1;
}

/**
 * kstack_donate - give a page of a stack to those that wait for one, or will be woken
 * @page: that nobody has any more
 * @zeroed: nobody has written there
 *
 * Return: false if nobody needs it, and the page is the caller's still.
 */
bool kstack_donate(struct page *page, bool zeroed)
{
	int node = page_to_nid(page);

	if (!list_empty(&waiting) && READ_ONCE(nr_pool) < READ_ONCE(nr_owed)) {
		if (!zeroed)
			clear_highpage(page);
	} else if (!zeroed || !READ_ONCE(nr_owed) ||
		   READ_ONCE(pools[node].nr) >= pool_share(pool_most())) {
		return false;
	}
	pool_add(page, node);
	return true;
}

/* Reclaim begins. Return: did wake-ups take pages since the last time? */
bool kstack_begin_donations(void)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&wake_lock, flags);
	nr_taken_before = nr_taken;
	nr_taken = 0;
	raw_spin_unlock_irqrestore(&wake_lock, flags);
	return READ_ONCE(nr_taken_before);
}

/*
 * What was taken from a thread that sleeps: its own pages first, which are right by
 * whatever translation some TLB has, then fresh ones, of which no TLB has any.
 * From another CPU, as the thread does not run. False if there are not enough.
 */
static bool kstack_complete(struct kstack *ks, bool from_pool)
{
	unsigned long low, to = kstack_top(ks) - ks->want;
	/* Where it ran last, and mostly will again. */
	int node = cpu_to_mem(task_cpu(ks->task));

	lockdep_assert_held(&ks->task->pi_lock);
	lockdep_assert_held(&wake_lock);
	while ((low = kstack_low(ks)) > to) {
		struct page *page = NULL;

		if (kstack_take_back(ks, low - PAGE_SIZE)) {
			this_cpu_inc(ks->stats->restored);
			nr_owed--;
			continue;
		}
		if (from_pool)
			page = pool_take(node);
		if (!page)
			break;
		if (WARN_ON_ONCE(!kstack_install(ks, low - PAGE_SIZE, page))) {
			kstack_reserve_put(page);
			break;
		}
		this_cpu_inc(ks->stats->replaced);
		nr_owed--;
		nr_taken++;
		/* Counts pages only once, and has the pool refilled. */
		kstack_charge_later(ks);
	}
	kstack_note_low(ks);
	if (low > to)
		return false;
	ks->want = 0;
	/* In an interrupt; here no work can be queued. */
	if (stack_policy_watch(ks, ks->task->nvcsw))
		kstack_refill_soon();
	return true;
}

/*
 * A thread that sleeps has been trimmed from @mapped bytes: from here on it is not woken
 * before it has them again. With pi_lock held.
 */
void kstack_make_cold(struct task_struct *task, unsigned int mapped, unsigned int nr)
{
	lockdep_assert_held(&task->pi_lock);
	task->kstack->want = mapped;
	task->saved_state = task->__state;
	WRITE_ONCE(task->__state, TASK_COLD);
	raw_spin_lock(&wake_lock);
	nr_owed += nr;
	raw_spin_unlock(&wake_lock);
}

/* After that, and without the lock: there should be something to wake it with. */
void kstack_made_cold(void)
{
	if (pool_is_below(pool_least()))
		kthread_queue_delayed_work(hand_out_worker, &hand_out, 0);
}

/* Is the stack trimmed, or was a moment ago? */
bool kstack_is_cold(const struct kstack *ks)
{
	return READ_ONCE(ks->want);
}

/* Who was killed gives memory back. The thread is held off: it sleeps, or waits in the queue. */
static bool is_urgent(struct task_struct *task)
{
	return fatal_signal_pending(task) || stack_policy_cannot_be_late(task);
}

/**
 * stack_policy_wake - may a sleeper whose saved state was woken be run now?
 * @task: with its pi_lock held; cold, frozen, or both
 *
 * One that is cold is completed. If that cannot be it is queued, and woken when it is. A
 * frozen one has to be thawed before.
 *
 * Context: any that may wake threads; pages are neither allocated nor charged here.
 * Return: true to go on with an ordinary wake-up; false to note it only.
 */
bool stack_policy_wake(struct task_struct *task)
{
	struct kstack *ks = task->kstack;
	bool complete, urgent, first = false;

	if (READ_ONCE(task->__state) != TASK_COLD)
		return false;
	urgent = is_urgent(task);
	raw_spin_lock(&wake_lock);
	/* Who came before has the pages. */
	complete = kstack_complete(ks, urgent || list_empty(&waiting));
	if (!complete) {
		first = list_empty(&waiting);
		ks->late_since = ktime_get_mono_fast_ns();
		if (first)
			WRITE_ONCE(waiting_since, ks->late_since);
		if (urgent)
			list_add(&ks->waiting, &waiting);
		else
			list_add_tail(&ks->waiting, &waiting);
		nr_waiting++;
	}
	raw_spin_unlock(&wake_lock);
	/* As long as others wait, somebody hands out. */
	if (first)
		kstack_refill_surely();
	return complete;
}

/**
 * stack_policy_freeze - freeze a cold thread where it sleeps
 * @task: with its pi_lock held
 *
 * Return: %TASK_FROZEN, or 0 if it has to be woken to freeze.
 */
int stack_policy_freeze(struct task_struct *task)
{
	if (!(task->saved_state & TASK_FREEZABLE))
		return 0;
	WRITE_ONCE(task->__state, TASK_COLD | TASK_FROZEN);
	return TASK_FROZEN;
}

/**
 * stack_policy_thaw - let a cold thread that was frozen sleep on
 * @task: with its pi_lock held
 *
 * Return: 1, or 0 if it was woken meanwhile, and has to be by %TASK_FROZEN now.
 */
int stack_policy_thaw(struct task_struct *task)
{
	WRITE_ONCE(task->__state, TASK_COLD);
	if (task->saved_state != TASK_RUNNING)
		return 1;
	task->saved_state = TASK_FROZEN;
	return 0;
}

static int kstack_warm_fn(struct task_struct *task, void *data)
{
	struct kstack *ks = task->kstack;
	kstack_may_trim_fn must = data;
	bool complete;

	if (!ks->want || !must(task))
		return 0;
	raw_spin_lock(&wake_lock);
	complete = list_empty(&ks->waiting) && kstack_complete(ks, list_empty(&waiting));
	raw_spin_unlock(&wake_lock);
	if (!complete)
		return 0;
	if (task->__state & TASK_FROZEN) {
		/* As the freezer has it. */
		WRITE_ONCE(task->__state, TASK_FROZEN);
	} else {
		WRITE_ONCE(task->__state, task->saved_state);
		task->saved_state = TASK_RUNNING;
	}
	return 1;
}

/**
 * kstack_warm - complete a cold thread that goes on sleeping
 * @task: the thread; the caller has its stack from try_get_task_stack()
 * @must: asked with the thread's pi_lock held: does it have to be complete?
 *
 * Context: process; does not sleep.
 * Return: false if it was not, or there are no pages for it now.
 */
bool kstack_warm(struct task_struct *task, kstack_may_trim_fn must)
{
	return task_call_func(task, kstack_warm_fn, must);
}

/**
 * stack_policy_prio_changed - complete a cold thread that may not wait any more
 * @task: with its pi_lock and its runqueue locked
 *
 * If there are not enough pages at hand, it is looked at before long.
 */
void stack_policy_prio_changed(struct task_struct *task)
{
	struct kstack *ks = task->kstack;

	if (!kstack_warm_fn(task, stack_policy_cannot_be_late) &&
	    stack_policy_cannot_be_late(task) && stack_policy_watch(ks, task->nvcsw))
		kstack_refill_soon();
}

static int complete_first_fn(struct task_struct *task, void *data)
{
	struct kstack *ks = task->kstack;
	bool complete;

	raw_spin_lock(&wake_lock);
	complete = kstack_complete(ks, true);
	if (complete) {
		list_del_init(&ks->waiting);
		nr_waiting--;
	}
	raw_spin_unlock(&wake_lock);
	return complete;
}

/* Does not end before somebody has woken it, which is who takes it off the queue. */
static struct task_struct *first_waiting(void)
{
	struct task_struct *task = NULL;
	unsigned long flags;
	struct kstack *ks;

	raw_spin_lock_irqsave(&wake_lock, flags);
	ks = list_first_entry_or_null(&waiting, struct kstack, waiting);
	if (ks)
		task = get_task_struct(ks->task);
	raw_spin_unlock_irqrestore(&wake_lock, flags);
	return task;
}

/* That clock may step back a little. */
static u64 ns_since(u64 since)
{
	u64 now = ktime_get_mono_fast_ns();

	return since < now ? now - since : 0;
}

static void note_late(struct kstack *ks)
{
	u64 usecs = div_u64(ns_since(ks->late_since), NSEC_PER_USEC);
	unsigned int log = min(fls64(usecs), KSTACK_DELAYS - 1);

	ks->late_starts++;
	this_cpu_inc(ks->stats->late_starts);
	this_cpu_inc(ks->stats->late[log]);
	stack_policy_record_late(ks, usecs);
}

/* Return: 1 if the first that waits was woken, -ENOMEM if it lacks pages, -ENOENT. */
static int wake_first(void)
{
	struct task_struct *task = first_waiting();
	int complete;

	if (!task)
		return -ENOENT;
	complete = task_call_func(task, complete_first_fn, NULL);
	if (complete) {
		note_late(task->kstack);
		wake_up_state(task, TASK_COLD);
		WRITE_ONCE(last_woken, ktime_get_mono_fast_ns());
	}
	put_task_struct(task);
	return complete ?: -ENOMEM;
}

/* One that has become urgent since it was queued. Return: is the first one urgent? */
static bool put_urgent_first(void)
{
	unsigned int nr = 0;
	unsigned long flags;
	bool found = false;
	struct kstack *ks;

	raw_spin_lock_irqsave(&wake_lock, flags);
	list_for_each_entry(ks, &waiting, waiting) {
		found = is_urgent(ks->task);
		if (found)
			list_move(&ks->waiting, &waiting);
		/* The others' turn comes. */
		if (found || ++nr == LOOK_AT)
			break;
	}
	raw_spin_unlock_irqrestore(&wake_lock, flags);
	return found;
}

/*
 * Has nobody got anywhere for so long? As long as some are woken, they run, and end, and
 * there are pages for the next.
 */
static bool is_stuck_for(u64 ns)
{
	return ns_since(max(READ_ONCE(waiting_since), READ_ONCE(last_woken))) > ns;
}

/*
 * Who waits looks asleep, and nobody else says that it is not: when the first one has waited
 * for 10 seconds, for 20, 40.
 */
static void complain(void)
{
	static u64 next = COMPLAIN_NS;
	struct task_struct *task = first_waiting();
	u64 waited;

	if (!task)
		return;
	waited = ns_since(READ_ONCE(task->kstack->late_since));
	if (waited < COMPLAIN_NS)
		next = COMPLAIN_NS;
	if (waited >= next) {
		next = 2 * waited;
		pr_warn("no memory for stacks: %u woken threads wait for it, %s[%d] for %llu s\n",
			READ_ONCE(nr_waiting), task->comm, task_pid_nr(task),
			div_u64(waited, NSEC_PER_SEC));
	}
	put_task_struct(task);
}

/*
 * What sleepers have is taken, however short they have slept, before anybody reclaims or kills
 * for it. Return: was that enough for the first in the queue?
 */
static bool trim_for_first(void)
{
	static unsigned long next = INITIAL_JIFFIES;

	if (time_before(jiffies, next))
		return false;
	next = jiffies + nsecs_to_jiffies(PATIENCE_NS);
	stack_policy_trim_sleepers();
	kstack_try_reclaim();
	return wake_first() > 0;
}

/*
 * There is no page, and the first in the queue may hold what reclaim waits for: for that one,
 * page by page, what the allocator keeps for those who help it on.
 */
static void help_first(bool stuck)
{
	static unsigned long next = INITIAL_JIFFIES;
	int i;

	if (time_before(jiffies, next))
		return;
	next = jiffies + RETRY;
	if (!put_urgent_first() && !stuck)
		return;
	for (i = 0; i < KSTACK_PAGES && wake_first() == -ENOMEM; i++) {
		if (!pool_fill(GFP_NOWAIT | __GFP_MEMALLOC, 1))
			break;
	}
}

/*
 * Hands out pages to who waits, the first one first. Waits for nobody, so that whatever
 * becomes free gets there while the other worker is stuck in reclaim.
 */
static void hand_out_fn(struct kthread_work *work)
{
	bool filled = pool_fill(GFP_NOWAIT, POOL_MAX), stuck;
	int ret;

	while ((ret = wake_first()) > 0) {
		pool_fill(GFP_NOWAIT, KSTACK_PAGES);
		cond_resched();
	}
	if (ret == -ENOENT) {
		pool_shrink();
		if (!filled)
			kthread_queue_delayed_work(hand_out_worker, &hand_out, HZ);
		return;
	}
	complain();
	stuck = is_stuck_for(PATIENCE_NS) && !trim_for_first();
	if (stuck)
		kthread_queue_delayed_work(allocate_worker, &allocate, 0);
	help_first(stuck);
	kthread_queue_delayed_work(hand_out_worker, &hand_out, READ_ONCE(nr_pool) ? 0 : RETRY);
}

/* Brings a page for who waits, whatever it takes: reclaim, and at last the OOM killer. */
static void allocate_fn(struct kthread_work *work)
{
	while (!list_empty(&waiting)) {
		gfp_t gfp = GFP_KERNEL;

		if (!is_stuck_for(LENIENCE_NS))
			gfp |= __GFP_RETRY_MAYFAIL;
		if (!pool_fill(gfp, 1)) {
			kthread_queue_delayed_work(allocate_worker, &allocate, RETRY);
			return;
		}
		kthread_mod_delayed_work(hand_out_worker, &hand_out, 0);
		/* Enough, unless others are faster. */
		if (READ_ONCE(nr_pool) >= KSTACK_PAGES)
			return;
	}
}

/*
 * After pages were taken in a wake-up, or there were none: in hard interrupt
 * context, or process context.
 */
void kstack_wake_catch_up(void)
{
	bool filled = true;

	if (!hand_out_worker)
		return;
	if (pool_is_below(pool_least()))
		filled = pool_fill(GFP_NOWAIT, FILL_IN_IRQ) && !pool_is_below(pool_least());
	if (!filled || !list_empty(&waiting) || pool_has_surplus())
		kthread_mod_delayed_work(hand_out_worker, &hand_out, 0);
}

/* A snapshot. */
void kstack_pool_read(struct kstack_pool_stats *stats)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&wake_lock, flags);
	stats->pages = nr_pool;
	stats->owed = nr_owed;
	stats->waiting = nr_waiting;
	raw_spin_unlock_irqrestore(&wake_lock, flags);
}

/* Without them no thread goes cold. */
bool kstack_can_wake(void)
{
	return hand_out_worker && allocate_worker;
}

static struct kthread_worker * __init create(const char *name, unsigned int flags)
{
	struct kthread_worker *worker = kthread_create_worker(flags, name);

	if (IS_ERR(worker)) {
		pr_err("no thread %s (%pe), stacks of sleepers stay as they are\n", name,
		       worker);
		return NULL;
	}
	set_user_nice(worker->task, MIN_NICE);
	return worker;
}

static int __init kstack_wake_init(void)
{
	int node;

	pools = kcalloc(nr_node_ids, sizeof(*pools), GFP_KERNEL);
	if (!pools)
		return 0;
	for (node = 0; node < nr_node_ids; node++)
		INIT_LIST_HEAD(&pools[node].pages);
	hand_out_worker = create("kstack_wake", 0);
	/* Reclaims, and no stack should grow for that just then. */
	allocate_worker = create("kstack_alloc", KTW_BIG_STACK);
	return 0;
}
core_initcall(kstack_wake_init);

#if IS_ENABLED(CONFIG_STACK_POLICY_KUNIT_TEST)
#include "kstack_wake_test.c"
#endif

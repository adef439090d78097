// SPDX-License-Identifier: GPL-2.0
/*
 * Taking stack memory away. Pages that are out of use are unmapped and retained
 * (trim), given to their stack again when it needs them, or freed after a flush
 * of all TLBs (reclaim). What a slot can be, who may change it, and why nobody
 * can write to a page that is somebody else's by then: "Giving memory back" in
 * Documentation/mm/stack-policy.rst.
 */
#define pr_fmt(fmt) "kstack: " fmt

#include <linux/irqflags.h>
#include <linux/kstack.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched/task_stack.h>
#include <linux/shrinker.h>
#include <linux/stack_policy.h>
#include <linux/task_work.h>
#include <linux/workqueue.h>

#include <asm/tlbflush.h>

#include "kstack.h"

/*
 * Reclaim when so many pages are retained, or the first has been so long: twice as long as a
 * thread has to sleep to be trimmed, within these.
 */
#define RECLAIM_BATCH		1024
#define RECLAIM_AGE_MIN		(HZ / 20UL)
#define RECLAIM_AGE_MAX		(1UL * HZ)

/*
 * A thread that grows again and again drops its excess once in this time, and
 * keeps it in between.
 */
#define TRIM_INTERVAL		HZ

/* Stacks that may have RETAINED slots. */
static LIST_HEAD(retaining);
/* Protects that list. */
static DEFINE_SPINLOCK(retaining_lock);
/* RETAINED slots of all stacks. Changed in faults too. */
static atomic_long_t nr_retained;
/*
 * Only its holder marks slots as asked, frees their pages, and takes stacks off
 * the list.
 */
static DEFINE_MUTEX(reclaim_mutex);

static void kstack_reclaim_fn(struct work_struct *work)
{
	kstack_reclaim();
}
static DECLARE_DELAYED_WORK(reclaim_work, kstack_reclaim_fn);

static unsigned long reclaim_age(void)
{
	return clamp(2 * stack_policy_cold_delay(), RECLAIM_AGE_MIN, RECLAIM_AGE_MAX);
}

static pte_t kstack_slot(const struct kstack *ks, unsigned int slot)
{
	return READ_ONCE(ks->ptep[slot]);
}

/* RETAINED slots. Stable for nobody, so: a hint, or the caller excludes changes. */
unsigned int kstack_retained(const struct kstack *ks)
{
	unsigned int slot, nr = 0;

	for (slot = 0; slot < KSTACK_PAGES; slot++)
		nr += arch_kstack_pte_retained(kstack_slot(ks, slot));
	return nr;
}

/*
 * RETAINED to PRESENT: the same page, so a translation that some TLB may still
 * have is right again. Any context, by code on this stack, or for a thread that is
 * kept asleep. False if the slot is EMPTY.
 */
bool kstack_take_back(struct kstack *ks, unsigned long addr)
{
	pte_t *ptep = kstack_ptep(ks, addr);
	pte_t old = READ_ONCE(*ptep);

	while (arch_kstack_pte_retained(old)) {
		pte_t new = arch_kstack_mk_present(old);

		/* Reclaim may mark or free it, a fault may be faster. */
		if (!try_cmpxchg(&ptep->pte, &old.pte, new.pte))
			continue;
		if (ks->stats) {
			this_cpu_inc(ks->stats->pages);
			this_cpu_dec(ks->stats->retained);
		}
		atomic_long_dec(&nr_retained);
		return true;
	}
	return pte_present(old);
}

/*
 * Keep how deep the thread has been, if only the pages below @keep tell, which may not be
 * there any more. The caller holds a reference to the stack.
 */
static void kstack_note_high(struct kstack *ks, unsigned long keep)
{
	unsigned int used = kstack_used(ks, READ_ONCE(ks->task->stack_low), keep);
	unsigned int old = READ_ONCE(ks->high);

	/* Others and the thread itself may be here at the same time. */
	while (old < used && !try_cmpxchg(&ks->high, &old, used))
		;
}

/*
 * PRESENT to RETAINED, from the lowest page up to @keep, so that what is mapped
 * stays one run. Nothing below @keep is in use, and the thread does not run
 * meanwhile except here: it is current with interrupts off, or blocked.
 *
 * @pins: references to the stack that the thread and the caller hold. Who has
 * another one may read all that was mapped when he got it.
 */
static unsigned int kstack_retain(struct kstack *ks, unsigned long keep,
				  enum kstack_trim what, int pins)
{
	struct task_struct *task = ks->task;
	unsigned int nr = 0;
	unsigned long addr;

	lockdep_assert_irqs_disabled();
	/*
	 * Looked up again for each page: if this loop itself overflows, the stack has
	 * grown again, and stack_low said so to a reader who came just then.
	 */
	while ((addr = kstack_low(ks)) < keep) {
		pte_t *ptep = kstack_ptep(ks, addr), old;

		WRITE_ONCE(task->stack_low, keep);
		/*
		 * Pairs with the increment in try_get_task_stack(), fully ordered on
		 * x86: either it is seen here, or stack_low by who reads the stack.
		 */
		smp_mb();
		if (refcount_read(&task->stack_refcount) > pins)
			break;
		old = READ_ONCE(*ptep);
		while (!try_cmpxchg(&ptep->pte, &old.pte,
				    arch_kstack_mk_retained(old, false).pte))
			;
		atomic_long_inc(&nr_retained);
		this_cpu_dec(ks->stats->pages);
		this_cpu_inc(ks->stats->retained);
		nr++;
	}
	kstack_note_low(ks);
	if (!nr)
		return 0;
	ks->trims[what]++;
	this_cpu_inc(ks->stats->trims[what]);
	/* Restores what is missing, flushes where it has to. */
	set_tsk_thread_flag(task, TIF_KSTACK);
	return nr;
}

/* After slots have become RETAINED: have them reclaimed one day. */
static void kstack_retained_later(struct kstack *ks, enum kstack_trim what,
				  unsigned int nr)
{
	long retained = atomic_long_read(&nr_retained);

	spin_lock(&retaining_lock);
	if (list_empty(&ks->retained))
		list_add_tail(&ks->retained, &retaining);
	spin_unlock(&retaining_lock);
	if (retained >= RECLAIM_BATCH)
		mod_delayed_work(system_unbound_wq, &reclaim_work, 0);
	else
		queue_delayed_work(system_unbound_wq, &reclaim_work, reclaim_age());
	stack_policy_record_trim(ks, what, nr);
}

/* Where a stack can be cut that is in use above @sp. */
static unsigned long kstack_cut(unsigned long sp)
{
	return (sp - KSTACK_MARGIN) & PAGE_MASK;
}

/*
 * This CPU may have translations of RETAINED slots from before they were
 * unmapped. The thread would use these pages without taking them back, and
 * reclaim would take them away under it. True if there are such slots.
 */
static bool kstack_flush_retained(struct kstack *ks)
{
	int cpu = smp_processor_id();
	bool retained = false;
	unsigned int slot;

	lockdep_assert_irqs_disabled();
	for (slot = 0; slot < KSTACK_PAGES; slot++) {
		if (!arch_kstack_pte_retained(kstack_slot(ks, slot)))
			continue;
		retained = true;
		if (ks->flushed_cpu != cpu)
			arch_kstack_flush_here((unsigned long)ks->base + slot * PAGE_SIZE);
	}
	ks->flushed_cpu = cpu;
	return retained;
}

/* The excess of current. @pins as for kstack_retain(). */
static void kstack_trim_current(struct kstack *ks, int pins)
{
	unsigned long cut, flags;
	unsigned int nr;

	kstack_note_high(ks, kstack_top(ks));
	local_irq_save(flags);
	cut = min(kstack_cut(current_stack_pointer), kstack_top(ks) - ks->populate);
	nr = kstack_retain(ks, cut, KSTACK_EXCESS, pins);
	if (nr) {
		ks->flushed_cpu = -1;
		kstack_flush_retained(ks);
	}
	local_irq_restore(flags);
	if (!nr)
		return;
	ks->trimmed_at = jiffies;
	kstack_retained_later(ks, KSTACK_EXCESS, nr);
}

static bool kstack_trim_is_due(const struct kstack *ks)
{
	return !ks->trims[KSTACK_EXCESS] ||
	       (u32)jiffies - READ_ONCE(ks->trimmed_at) >= TRIM_INTERVAL;
}

/* Current has something to give, but not now. */
void kstack_watch(struct kstack *ks)
{
	if (stack_policy_watch(ks, current->nvcsw))
		stack_policy_watch_soon();
}

/* task_work: current is on its way to user mode, or exits. */
static void kstack_work_fn(struct callback_head *head)
{
	struct kstack *ks = container_of(head, struct kstack, work);

	/* First: what somebody wants from here on is queued again. */
	xchg(&ks->work_queued, false);
	if (current->flags & PF_EXITING)
		return;
	if (kstack_mapped(ks) > ks->populate && kstack_trim_is_due(ks))
		kstack_trim_current(ks, 1);
	if (kstack_mapped(ks) > ks->populate)
		kstack_watch(ks);
}

/*
 * Have the thread trim itself on its way to user mode; when it goes there next, no
 * CPU is disturbed for that. Any context but NMI. A kthread never gets there.
 */
void kstack_trim_soon(struct kstack *ks)
{
	struct task_struct *task = ks->task;

	if (task->flags & PF_KTHREAD || xchg(&ks->work_queued, true))
		return;
	if (task_work_add(task, &ks->work, TWA_NONE))
		WRITE_ONCE(ks->work_queued, false);
	else
		set_tsk_thread_flag(task, TIF_NOTIFY_RESUME);
}

/*
 * task_call_func() holds off whoever could wake the thread. A thread that is off
 * the runqueue may still be on its CPU and its stack: __schedule() drops the
 * runqueue's lock where it looks for work on other CPUs.
 */
static bool kstack_sleeps(struct task_struct *task)
{
	unsigned int state = READ_ONCE(task->__state);

	lockdep_assert_held(&task->pi_lock);
	/* What has never run is not woken like others; of what is cold all is taken. */
	if (state == TASK_RUNNING || state & (TASK_WAKING | TASK_NEW | TASK_COLD) ||
	    task->saved_state != TASK_RUNNING || task->on_rq || task_curr(task))
		return false;
	/* Who is freeing memory for others needs his stack in place. */
	if (READ_ONCE(task->flags) & PF_MEMALLOC)
		return false;
	/* A dead one does not hold its stack any more: @pins would be wrong. */
	return !(state & TASK_DEAD);
}

struct kstack_cold {
	kstack_may_trim_fn	may;
	unsigned int		nr;	/* pages that were unmapped */
};

static int kstack_trim_blocked_fn(struct task_struct *task, void *data)
{
	struct kstack *ks = task->kstack;
	struct kstack_cold *cold = data;
	unsigned int mapped;

	if (!kstack_sleeps(task) || !ks->trim_cold || !cold->may(task))
		return -EBUSY;
	mapped = kstack_mapped(ks);
	/* Nothing runs on it before all of it is back: no margin. */
	cold->nr = kstack_retain(ks, arch_kstack_saved_sp(task) & PAGE_MASK, KSTACK_COLD, 2);
	if (cold->nr) {
		/* No TLB has been flushed. */
		ks->flushed_cpu = -1;
		kstack_make_cold(task, mapped, cold->nr);
	}
	return 0;
}

/**
 * kstack_trim_blocked - trim a thread that sleeps to what it uses
 * @tsk: the thread; the caller has its stack from try_get_task_stack()
 * @may: asked with the thread's pi_lock held, so that it goes on sleeping
 *
 * Before it is woken it gets back what it had: it may have asked for it.
 *
 * Context: process; does not sleep.
 * Return: pages that were unmapped; none if it runs or may not, if its stack is not to be
 * trimmed, if somebody else holds it, or if there are none.
 */
unsigned int kstack_trim_blocked(struct task_struct *tsk, kstack_may_trim_fn may)
{
	struct kstack_cold cold = { .may = may };
	struct kstack *ks = tsk->kstack;
	unsigned long keep;

	if (!READ_ONCE(ks->trim_cold) || READ_ONCE(tsk->exit_state) || !kstack_can_wake())
		return 0;
	keep = arch_kstack_saved_sp(tsk) & PAGE_MASK;
	/* Not worth a lock. */
	if (kstack_low(ks) >= keep)
		return 0;
	kstack_note_high(ks, kstack_top(ks) - PAGE_SIZE);
	if (task_call_func(tsk, kstack_trim_blocked_fn, &cold) || !cold.nr)
		return 0;
	kstack_retained_later(ks, KSTACK_COLD, cold.nr);
	kstack_made_cold();
	return cold.nr;
}

struct kstack_resize {
	struct kstack_size	size;
	unsigned int		nr;	/* pages that were unmapped */
};

/* What is in use beyond the new size stays. */
static int kstack_resize_blocked_fn(struct task_struct *task, void *data)
{
	struct kstack *ks = task->kstack;
	struct kstack_resize *resize = data;
	unsigned long cut;

	if (!kstack_sleeps(task))
		return -EBUSY;
	kstack_set_size(ks, resize->size);
	cut = min(kstack_cut(arch_kstack_saved_sp(task)), kstack_top(ks) - ks->populate);
	resize->nr = kstack_retain(ks, cut, KSTACK_EXCESS, 2);
	if (resize->nr)
		ks->flushed_cpu = -1;
	return 0;
}

/**
 * kstack_resize - give a thread from before the reserve a stack of another size
 * @tsk: the thread; the caller has its stack from try_get_task_stack()
 * @size: from now on
 *
 * Nothing of it is owed: the thread had more because it could not have grown.
 *
 * Context: process; does not sleep.
 * Return: false if nothing was done, as it runs elsewhere.
 */
bool kstack_resize(struct task_struct *tsk, struct kstack_size size)
{
	struct kstack_resize resize = { .size = size };
	struct kstack *ks = tsk->kstack;

	if (tsk == current) {
		kstack_set_size(ks, size);
		kstack_trim_current(ks, 2);
		return true;
	}
	kstack_note_high(ks, kstack_top(ks));
	if (task_call_func(tsk, kstack_resize_blocked_fn, &resize))
		return false;
	if (resize.nr)
		kstack_retained_later(ks, KSTACK_EXCESS, resize.nr);
	return true;
}

/*
 * On @next's stack, which is complete. Interrupts are off and the runqueue is
 * locked, as in a fault that happens there.
 */
void stack_policy_switch_in(struct task_struct *next)
{
	struct kstack *ks = next->kstack;

	lockdep_assert_irqs_disabled();
	WARN_ON_ONCE(ks->want);
	if (!kstack_flush_retained(ks))
		clear_tsk_thread_flag(next, TIF_KSTACK);
}

/*
 * Mark what is RETAINED now: when these marks are seen after the flush, the
 * slot was unmapped before it, and has been all the time.
 */
static void kstack_mark_asked(struct kstack *ks, unsigned long *from, unsigned long *to)
{
	unsigned int slot;

	for (slot = 0; slot < KSTACK_PAGES; slot++) {
		pte_t old = kstack_slot(ks, slot);

		/* A thread may be taking it back. */
		if (arch_kstack_pte_retained(old))
			cmpxchg(&ks->ptep[slot].pte, old.pte,
				arch_kstack_mk_retained(old, true).pte);
	}
	*from = min(*from, (unsigned long)ks->base);
	*to = max(*to, kstack_top(ks));
}

/* RETAINED and asked to EMPTY. Return: pages that were freed. */
static unsigned int kstack_free_asked(struct kstack *ks)
{
	struct page *pages[KSTACK_PAGES];
	unsigned int slot, nr = 0, i;
	unsigned long flags, zeroed = 0;

	spin_lock_irqsave(&ks->charge_lock, flags);
	for (slot = 0; slot < KSTACK_PAGES; slot++) {
		pte_t old = kstack_slot(ks, slot);

		if (!arch_kstack_pte_asked(old) ||
		    cmpxchg(&ks->ptep[slot].pte, old.pte, 0) != old.pte)
			continue;
		__assign_bit(nr, &zeroed, !arch_kstack_pte_written(old));
		pages[nr++] = pte_page(old);
		kstack_uncharge_slot(ks, slot, pte_page(old));
		if (!ks->stats)
			continue;
		this_cpu_dec(ks->stats->retained);
		this_cpu_inc(ks->stats->reclaimed);
	}
	spin_unlock_irqrestore(&ks->charge_lock, flags);
	atomic_long_sub(nr, &nr_retained);
	for (i = 0; i < nr; i++) {
		if (!kstack_donate(pages[i], test_bit(i, &zeroed)))
			__free_page(pages[i]);
	}
	return nr;
}

/* Off the list, unless slots have become RETAINED again. */
static void kstack_relist_or_remove(struct kstack *ks)
{
	spin_lock(&retaining_lock);
	if (kstack_retained(ks))
		list_move_tail(&ks->retained, &retaining);
	else
		list_del_init_careful(&ks->retained);
	spin_unlock(&retaining_lock);
}

static unsigned long kstack_reclaim_locked(void)
{
	unsigned long from = ULONG_MAX, to = 0, stacks = 0, pages = 0;
	bool again = kstack_begin_donations();
	struct kstack *ks, *next;
	LIST_HEAD(batch);

	lockdep_assert_held(&reclaim_mutex);
	spin_lock(&retaining_lock);
	list_splice_init(&retaining, &batch);
	spin_unlock(&retaining_lock);
	if (list_empty(&batch)) {
		/* Once nothing was taken any more, nothing is kept for that. */
		kstack_wake_catch_up();
		if (again)
			queue_delayed_work(system_unbound_wq, &reclaim_work, reclaim_age());
		return 0;
	}

	list_for_each_entry(ks, &batch, retained) {
		kstack_mark_asked(ks, &from, &to);
		cond_resched();
	}
	flush_tlb_kernel_range(from, to);
	list_for_each_entry_safe(ks, next, &batch, retained) {
		stacks++;
		pages += kstack_free_asked(ks);
		/* The last time that ks is touched: its thread may be gone. */
		kstack_relist_or_remove(ks);
		cond_resched();
	}
	if (atomic_long_read(&nr_retained) > 0 || again)
		queue_delayed_work(system_unbound_wq, &reclaim_work, reclaim_age());
	stack_policy_record_reclaim(stacks, pages);
	/* Threads that took their own pages back are owed less. */
	kstack_wake_catch_up();
	return pages;
}

/**
 * kstack_reclaim - free what stacks retain
 *
 * One flush of the TLBs for all of them.
 *
 * Context: process, interrupts on.
 * Return: pages that were freed.
 */
unsigned long kstack_reclaim(void)
{
	unsigned long pages;

	mutex_lock(&reclaim_mutex);
	pages = kstack_reclaim_locked();
	mutex_unlock(&reclaim_mutex);
	return pages;
}

/* The same for who may not wait for another that does it. Return: 0 then as well. */
unsigned long kstack_try_reclaim(void)
{
	unsigned long pages;

	if (!mutex_trylock(&reclaim_mutex))
		return 0;
	pages = kstack_reclaim_locked();
	mutex_unlock(&reclaim_mutex);
	return pages;
}

/* Of a stack without a thread: is it on the list, or just taken off? */
bool kstack_listed(struct kstack *ks)
{
	/* Pairs with list_del_init_careful(). */
	return !list_empty_careful(&ks->retained);
}

/* The page of a RETAINED slot is about to be freed with its stack. */
void kstack_forget(struct kstack *ks, unsigned int slot)
{
	WRITE_ONCE(ks->ptep[slot].pte, 0);
	atomic_long_dec(&nr_retained);
}

/* Bytes from the top down to where @tsk was when it was switched out last. */
unsigned long kstack_depth(const struct task_struct *tsk)
{
	return kstack_top(tsk->kstack) - arch_kstack_saved_sp(tsk);
}

/* A stack without a thread is about to be used for something else. */
void kstack_unlist(struct kstack *ks)
{
	if (!kstack_listed(ks))
		return;
	mutex_lock(&reclaim_mutex);
	spin_lock(&retaining_lock);
	list_del_init(&ks->retained);
	spin_unlock(&retaining_lock);
	mutex_unlock(&reclaim_mutex);
}

/* For its next thread. */
void kstack_trim_reset(struct kstack *ks)
{
	ks->want = 0;
	ks->high = 0;
	memset(ks->trims, 0, sizeof(ks->trims));
	ks->work_queued = false;
	init_task_work(&ks->work, kstack_work_fn);
	INIT_LIST_HEAD(&ks->waiting);
	ks->late_starts = 0;
}

static unsigned long kstack_shrink_count(struct shrinker *shrinker,
					 struct shrink_control *sc)
{
	/* Counted a moment before or after the slots change. */
	return max(0L, atomic_long_read(&nr_retained));
}

static unsigned long kstack_shrink_scan(struct shrinker *shrinker,
					struct shrink_control *sc)
{
	return kstack_try_reclaim() ?: SHRINK_STOP;
}

static int __init kstack_trim_init(void)
{
	struct shrinker *shrinker = shrinker_alloc(0, "kstack");

	if (!shrinker) {
		pr_err("no shrinker, retained pages are freed by age only\n");
		return 0;
	}
	shrinker->count_objects = kstack_shrink_count;
	shrinker->scan_objects = kstack_shrink_scan;
	shrinker_register(shrinker);
	return 0;
}
core_initcall(kstack_trim_init);

#if IS_ENABLED(CONFIG_STACK_POLICY_KUNIT_TEST)
#include "kstack_test.c"
#endif

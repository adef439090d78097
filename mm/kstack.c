// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of kernel stacks: a span of THREAD_SIZE whose pages are mapped from
 * the top down as far as they are needed, and charged to the memory cgroup of
 * their thread. Knows no classes.
 */
#define pr_fmt(fmt) "kstack: " fmt

#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/kstack.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>

#include "kstack.h"

/*
 * What a span takes of the vmalloc area: wherever this begins, an aligned span
 * lies in it. Below the span is the rest, or the guard page of the area before.
 */
#define KSTACK_AREA	(2 * THREAD_SIZE - PAGE_SIZE)

#define NR_CACHED	2

/*
 * Few pages, in use already: over the limit rather than failed, and without
 * reclaim on a stack that was too short a moment ago.
 */
#define KSTACK_CHARGE_BY_FORCE	(GFP_NOWAIT | __GFP_NOFAIL)

/* Stacks that grew in a fault, pinned, until the next refill charges them. */
static DEFINE_PER_CPU(struct llist_head, kstack_uncharged);
/*
 * Stacks that have what they were created with, for the next fork on this CPU:
 * this_cpu operations only, so that none is left behind on a CPU that has gone.
 */
static DEFINE_PER_CPU(struct kstack *, kstack_cache[NR_CACHED]);

static struct kmem_cache *kstack_cachep __ro_after_init;
/* One at a time: those that are on the reclaimer's list have to wait for it. */
static struct workqueue_struct *kstack_free_wq __ro_after_init;

/* The lowest mapped address, from the page tables. */
unsigned long kstack_low(const struct kstack *ks)
{
	unsigned int slot = KSTACK_PAGES;

	while (slot && pte_present(READ_ONCE(ks->ptep[slot - 1])))
		slot--;
	return (unsigned long)ks->base + slot * PAGE_SIZE;
}

/* Bytes mapped, from the top. */
unsigned long kstack_mapped(const struct kstack *ks)
{
	return kstack_top(ks) - kstack_low(ks);
}

/* The address of @page in the span, or NULL if it is not this stack's. */
void *kstack_find_page(const struct kstack *ks, const struct page *page)
{
	unsigned int slot;

	for (slot = 0; slot < KSTACK_PAGES; slot++) {
		pte_t pte = READ_ONCE(ks->ptep[slot]);

		if (!pte_none(pte) && pte_page(pte) == page)
			return ks->base + slot * PAGE_SIZE;
	}
	return NULL;
}

/*
 * Sixteen words at once, because this is done for every thread. Another
 * thread may be writing: a word is seen before or after, both are right.
 */
static __no_kcsan const unsigned long *skip_zeroes(const unsigned long *word,
						   const unsigned long *end)
{
	while (word < end && !(word[0] | word[1] | word[2] | word[3] |
			       word[4] | word[5] | word[6] | word[7] |
			       word[8] | word[9] | word[10] | word[11] |
			       word[12] | word[13] | word[14] | word[15]))
		word += 16;
	while (word < end && !*word)
		word++;
	return word;
}

/**
 * kstack_get_task - the thread of a stack, with a reference to the stack
 * @ks: that the caller keeps from being freed
 *
 * Context: under RCU, which keeps the thread until the reference is dropped.
 * Return: NULL if there is none, or if it has nothing to give: it runs with what it was
 * given. So may one that fork() is about to fail with, and to free without RCU.
 */
struct task_struct *kstack_get_task(struct kstack *ks)
{
	struct task_struct *task;
	unsigned int state;
	unsigned long flags;

	spin_lock_irqsave(&ks->charge_lock, flags);
	task = ks->task;
	state = task ? READ_ONCE(task->__state) : TASK_NEW;
	if (state & (TASK_NEW | TASK_DEAD) ||
	    (state == TASK_RUNNING && kstack_mapped(ks) <= ks->populate) ||
	    !try_get_task_stack(task))
		task = NULL;
	spin_unlock_irqrestore(&ks->charge_lock, flags);
	return task;
}

/*
 * Bytes from the top to the deepest word between @low and @high that was ever written. 0 if
 * none was.
 */
unsigned long kstack_used(const struct kstack *ks, unsigned long low, unsigned long high)
{
	/* Fresh stack memory is zero. Not even to be read, as long as it is fresh. */
	while (low < high && !arch_kstack_pte_written(READ_ONCE(*kstack_ptep(ks, low))))
		low += PAGE_SIZE;
	low = (unsigned long)skip_zeroes((unsigned long *)low, (unsigned long *)high);
	return low < high ? kstack_top(ks) - low : 0;
}

/*
 * Bytes from the top that were ever in use. The caller holds a reference to the
 * stack, which keeps what is above stack_low mapped; the page tables may say
 * more than that.
 */
unsigned long kstack_high_water(const struct kstack *ks)
{
	return max_t(unsigned long, READ_ONCE(ks->high),
		     kstack_used(ks, READ_ONCE(ks->task->stack_low), kstack_top(ks)));
}

/*
 * Tell the task what is mapped. Again if a fault, in an interrupt perhaps, has
 * added a page since it was read: the fault's value is the newer one.
 */
void kstack_note_low(struct kstack *ks)
{
	unsigned long low;

	do {
		low = kstack_low(ks);
		WRITE_ONCE(ks->task->stack_low, low);
		barrier();
	} while (low != kstack_low(ks));
}

/*
 * Map a zeroed page. False if the slot is not EMPTY. No flush: no TLB has a
 * translation of that.
 */
bool kstack_install(struct kstack *ks, unsigned long addr, struct page *page)
{
	pte_t *ptep = kstack_ptep(ks, addr);
	pte_t pte = arch_kstack_mk_zeroed(page);
	pte_t old = READ_ONCE(*ptep);

	/*
	 * EMPTY need not be 0: pte_none() knows bits that some CPUs set by mistake.
	 * As it is in the table: pte_val() would translate it on Xen PV.
	 */
	if (!pte_none(old) || !try_cmpxchg(&ptep->pte, &old.pte, pte.pte))
		return false;
	/* Not counted yet while it is created. */
	if (ks->stats)
		this_cpu_inc(ks->stats->pages);
	return true;
}

/*
 * Charge and count what is mapped and was not. Not in a fault: neither memcg
 * nor these counters are safe there. A task that exits is done.
 */
static int kstack_charge(struct kstack *ks, gfp_t gfp)
{
	struct page *page;
	int slot, ret;

	for (slot = KSTACK_PAGES - 1; slot >= 0; slot--) {
		if (ks->exiting || !pte_present(READ_ONCE(ks->ptep[slot])))
			break;
		if (ks->accounted & BIT(slot))
			continue;
		page = pte_page(ks->ptep[slot]);
		/* It is charged if it was allocated with __GFP_ACCOUNT. */
		ret = PageMemcgKmem(page) ? 0 : memcg_kmem_charge_page(page, gfp, 0);
		if (ret)
			return ret;
		ks->accounted |= BIT(slot);
		mod_lruvec_page_state(page, NR_KERNEL_STACK_KB, PAGE_SIZE / 1024);
		this_cpu_inc(ks->stats->charged);
	}
	return 0;
}

/* Undo that for one page. */
void kstack_uncharge_slot(struct kstack *ks, unsigned int slot, struct page *page)
{
	lockdep_assert_held(&ks->charge_lock);
	if (!(ks->accounted & BIT(slot)))
		return;
	ks->accounted &= ~BIT(slot);
	mod_lruvec_page_state(page, NR_KERNEL_STACK_KB, -(int)(PAGE_SIZE / 1024));
	memcg_kmem_uncharge_page(page, 0);
	if (ks->stats)
		this_cpu_dec(ks->stats->charged);
}

/* Undo kstack_charge(). What is retained was charged as well. */
static void kstack_uncharge(struct kstack *ks)
{
	unsigned long slots = ks->accounted;
	unsigned int slot;

	for_each_set_bit(slot, &slots, KSTACK_PAGES)
		kstack_uncharge_slot(ks, slot, pte_page(READ_ONCE(ks->ptep[slot])));
}

#ifdef CONFIG_MEMCG
static struct mem_cgroup *kstack_memcg(struct task_struct *task)
{
	return task->flags & PF_KTHREAD ? NULL : mem_cgroup_from_task(task);
}
#else
static struct mem_cgroup *kstack_memcg(struct task_struct *task)
{
	return NULL;
}
#endif

/*
 * Charge what has grown, by force: it is in use. To the memcg of its thread,
 * wherever this is called and whoever that thread works for just now: it keeps
 * the stack when it has done so.
 */
void kstack_charge_growth(struct kstack *ks)
{
	struct mem_cgroup *memcg;
	unsigned long flags;

	rcu_read_lock();
	memcg = set_active_memcg(kstack_memcg(ks->task));
	spin_lock_irqsave(&ks->charge_lock, flags);
	kstack_charge(ks, KSTACK_CHARGE_BY_FORCE);
	spin_unlock_irqrestore(&ks->charge_lock, flags);
	set_active_memcg(memcg);
	rcu_read_unlock();
}

/*
 * From a fault or a wake-up: the refill, which comes with the next interrupt,
 * charges this stack. Pinned, as its thread may be gone by then.
 */
void kstack_charge_later(struct kstack *ks)
{
	preempt_disable();
	if (!xchg(&ks->charge_queued, true)) {
		/* Does not fail: this is on that stack. */
		try_get_task_stack(ks->task);
		get_task_struct(ks->task);
		llist_add(&ks->charge_node, this_cpu_ptr(&kstack_uncharged));
	}
	kstack_refill_soon();
	preempt_enable();
}

static void kstack_charge_queued(unsigned int cpu)
{
	struct llist_node *list = llist_del_all(per_cpu_ptr(&kstack_uncharged, cpu));
	struct kstack *ks, *next;

	llist_for_each_entry_safe(ks, next, list, charge_node) {
		struct task_struct *task = ks->task;

		/* First: what a fault adds from here on is queued again. */
		xchg(&ks->charge_queued, false);
		kstack_charge_growth(ks);
		if (kstack_mapped(ks) > READ_ONCE(ks->populate))
			kstack_trim_soon(ks);
		put_task_stack(task);
		put_task_struct(task);
	}
}

/*
 * What growth left to do that a fault and a wake-up cannot: of this CPU, in hard
 * interrupt context, or of one that is dead.
 */
void kstack_catch_up(unsigned int cpu)
{
	kstack_wake_catch_up();
	stack_policy_watch_soon();
	kstack_charge_queued(cpu);
	stack_policy_report_overflows(cpu);
}

/*
 * The thread is about to be gone, or never ran: settle its accounts. Growth
 * after this is neither charged nor counted.
 */
void kstack_account_exit(struct kstack *ks)
{
	unsigned long flags;

	ks->ended = ks->task == current;
	spin_lock_irqsave(&ks->charge_lock, flags);
	ks->exiting = true;
	kstack_uncharge(ks);
	spin_unlock_irqrestore(&ks->charge_lock, flags);
}

/**
 * kstack_grow - map pages below the lowest mapped one
 * @ks: the stack this runs on, or on top of which a fault happened
 * @to: address that has to be mapped afterwards
 * @gfp: for what the reserve does not have; 0 where nothing can be allocated or
 *	charged: in a fault, or in any context
 * @cause: for the statistics
 *
 * Takes the pages from the reserve first: an allocator wants stack itself, and
 * here there is little of it.
 *
 * Return: 0, -EOVERFLOW past the limit, -ENOMEM if there is no page; what is
 * mapped by then stays.
 */
int kstack_grow(struct kstack *ks, unsigned long to, gfp_t gfp,
		enum kstack_cause cause)
{
	unsigned long low, first = kstack_low(ks);
	int ret = 0;

	if (to < kstack_top(ks) - ks->limit) {
		this_cpu_inc(ks->stats->failed_limit);
		return -EOVERFLOW;
	}

	if (cause == KSTACK_ENSURE && kstack_ensure_fails(gfp)) {
		this_cpu_inc(ks->stats->failed_nomem);
		return -ENOMEM;
	}

	while ((low = kstack_low(ks)) > to) {
		struct page *page;

		if (kstack_take_back(ks, low - PAGE_SIZE)) {
			kstack_note_low(ks);
			continue;
		}
		page = kstack_reserve_take(cause == KSTACK_ENSURE || cause == KSTACK_CLASS);
		/* Not on the stack that is too short: reclaim, a failure's report. */
		if (!page && gfp)
			page = alloc_page((gfp & ~(__GFP_DIRECT_RECLAIM | __GFP_NOFAIL |
						   __GFP_ACCOUNT)) |
					  __GFP_ZERO | __GFP_NOWARN);
		if (!page) {
			this_cpu_inc(ks->stats->failed_nomem);
			if (low == first)
				return -ENOMEM;
			ret = -ENOMEM;
			break;
		}
		if (!kstack_install(ks, low - PAGE_SIZE, page))
			kstack_reserve_put(page);
		kstack_note_low(ks);
	}
	if (!ret) {
		ks->grows[cause]++;
		this_cpu_inc(ks->stats->grows[cause]);
	}
	if (gfp) {
		kstack_charge_growth(ks);
		kstack_trim_soon(ks);
	} else {
		guard(preempt)();
		kstack_charge_later(ks);
		/* Also for a fault's record, even where no page was taken. */
		kstack_refill_surely();
	}
	return ret;
}

/* Without a node it is the memory policy of current that says where. */
static unsigned int kstack_alloc_bulk(struct page **pages, unsigned int nr, int node,
				      gfp_t gfp)
{
	if (IS_ENABLED(CONFIG_NUMA) && node == NUMA_NO_NODE)
		return alloc_pages_bulk_array_mempolicy(gfp, nr, pages);
	return alloc_pages_bulk_array_node(gfp, node, nr, pages);
}

static int kstack_alloc_pages(struct page **pages, unsigned int nr, int node,
			      gfp_t gfp)
{
	unsigned int i = 0;

	/* As many as are at hand, which is not for charged ones; then one by one. */
	memset(pages, 0, nr * sizeof(*pages));
	if (!(gfp & __GFP_ACCOUNT))
		i = kstack_alloc_bulk(pages, nr, node, gfp);
	for (; i < nr; i++) {
		pages[i] = node == NUMA_NO_NODE ? alloc_pages(gfp, 0) :
						  alloc_pages_node(node, gfp, 0);
		if (!pages[i])
			goto free_pages;
	}
	return 0;

free_pages:
	while (i--)
		__free_page(pages[i]);
	return -ENOMEM;
}

/*
 * Map at least @bytes from the top. What is mapped is looked up again after
 * every allocation: a thread that sleeps in one may be trimmed meanwhile.
 *
 * Return: 0, or -ENOMEM; nothing was allocated unless it was trimmed meanwhile.
 */
int kstack_populate(struct kstack *ks, size_t bytes, int node, gfp_t gfp)
{
	unsigned long low, to = kstack_top(ks) - bytes;
	struct page *pages[KSTACK_PAGES];
	unsigned int nr = 0;
	int ret = 0;

	while ((low = kstack_low(ks)) > to) {
		if (kstack_take_back(ks, low - PAGE_SIZE))
			continue;
		if (!nr) {
			nr = (low - to) >> PAGE_SHIFT;
			ret = kstack_alloc_pages(pages, nr, node, gfp);
			if (ret) {
				nr = 0;
				break;
			}
			continue;
		}
		nr--;
		if (!kstack_install(ks, low - PAGE_SIZE, pages[nr]))
			__free_page(pages[nr]);
	}
	while (nr--)
		__free_page(pages[nr]);
	if (ks->task)
		kstack_note_low(ks);
	return ret;
}

/*
 * Under charge_lock while others may know the stack. A page that a fault adds
 * in between stays with the old counters.
 */
static void kstack_count_with(struct kstack *ks, struct kstack_stats __percpu *stats)
{
	unsigned long pages = kstack_mapped(ks) / PAGE_SIZE;
	unsigned long charged = hweight8(ks->accounted);
	/* What is new has not been trimmed yet. */
	unsigned long retained = ks->stats ? kstack_retained(ks) : 0;

	if (ks->stats) {
		this_cpu_dec(ks->stats->stacks);
		this_cpu_sub(ks->stats->pages, pages);
		this_cpu_sub(ks->stats->charged, charged);
		this_cpu_sub(ks->stats->retained, retained);
	}
	ks->stats = stats;
	if (stats) {
		this_cpu_inc(stats->stacks);
		this_cpu_add(stats->pages, pages);
		this_cpu_add(stats->charged, charged);
		this_cpu_add(stats->retained, retained);
	}
}

/* The watcher may look at it meanwhile. */
void kstack_set_size(struct kstack *ks, struct kstack_size size)
{
	WRITE_ONCE(ks->populate, size.populate);
	WRITE_ONCE(ks->limit, size.limit);
	WRITE_ONCE(ks->trim_cold, size.trim_cold);
}

/**
 * kstack_populate_current - give the running thread a stack of another size
 * @size: from now on; what is mapped beyond that stays
 * @gfp: for what it lacks
 * @stats: where to count the stack from now on
 *
 * Context: may sleep.
 * Return: 0, or -ENOMEM and nothing has changed.
 */
int kstack_populate_current(struct kstack_size size, gfp_t gfp,
			    struct kstack_stats __percpu *stats)
{
	struct kstack *ks = current->kstack;
	unsigned long flags;

	if (kstack_populate(ks, size.populate, NUMA_NO_NODE, gfp)) {
		this_cpu_inc(ks->stats->failed_nomem);
		return -ENOMEM;
	}
	kstack_set_size(ks, size);
	spin_lock_irqsave(&ks->charge_lock, flags);
	kstack_count_with(ks, stats);
	spin_unlock_irqrestore(&ks->charge_lock, flags);
	ks->grows[KSTACK_CLASS]++;
	this_cpu_inc(stats->grows[KSTACK_CLASS]);
	kstack_charge_growth(ks);
	kstack_watch(ks);
	return 0;
}

/* apply_to_page_range() is here for the page tables; remember the first PTE. */
static int kstack_note_pte(pte_t *ptep, unsigned long addr, void *data)
{
	struct kstack *ks = data;

	if (!ks->ptep)
		ks->ptep = ptep;
	return 0;
}

static void kstack_destroy(struct kstack *ks)
{
	struct page *pages[KSTACK_PAGES];
	unsigned int slot, nr = 0;

	stack_policy_unwatch(ks);
	for (slot = 0; ks->ptep && slot < KSTACK_PAGES; slot++) {
		pte_t pte = ks->ptep[slot];

		if (pte_none(pte))
			continue;
		pages[nr++] = pte_page(pte);
		/* A PTE that is not present and not none would be a bug to vmalloc. */
		if (!pte_present(pte))
			kstack_forget(ks, slot);
	}
	kfree(remove_vm_area(ks->vm->addr));
	while (nr--) {
		pages[nr]->index = 0;
		set_page_private(pages[nr], 0);
		__free_page(pages[nr]);
	}
	kmem_cache_free(kstack_cachep, ks);
}

/*
 * The top page leads from a stack pointer to the stack. index holds the span's
 * address, which nothing else that is mapped in this span would put there.
 */
struct kstack *kstack_of_top_page(const struct page *page, unsigned long base)
{
	struct kstack *ks;

	if (page->index != base)
		return NULL;
	ks = (struct kstack *)page_private(page);
	return ks && ks->base == (void *)base ? ks : NULL;
}

static struct kstack *kstack_create(int node, size_t populate)
{
	struct kstack *ks = kmem_cache_alloc_node(kstack_cachep,
						  GFP_KERNEL | __GFP_ZERO, node);
	struct page *top;

	if (!ks)
		return NULL;
	spin_lock_init(&ks->charge_lock);
	INIT_LIST_HEAD(&ks->retained);
	INIT_LIST_HEAD(&ks->watch);
	ks->vm = get_vm_area(KSTACK_AREA, VM_ALLOC);
	if (!ks->vm) {
		kmem_cache_free(kstack_cachep, ks);
		return NULL;
	}
	ks->base = PTR_ALIGN(ks->vm->addr, THREAD_SIZE);
	if (apply_to_page_range(&init_mm, (unsigned long)ks->base, THREAD_SIZE,
				kstack_note_pte, ks))
		goto destroy;
	if (kstack_populate(ks, populate, node,
			    THREADINFO_GFP & ~__GFP_ACCOUNT))
		goto destroy;
	top = pte_page(ks->ptep[KSTACK_PAGES - 1]);
	top->index = (unsigned long)ks->base;
	set_page_private(top, (unsigned long)ks);
	return ks;

destroy:
	kstack_destroy(ks);
	return NULL;
}

static bool kstack_is_on(const struct kstack *ks, int node)
{
	return node == NUMA_NO_NODE ||
	       page_to_nid(pte_page(READ_ONCE(ks->ptep[KSTACK_PAGES - 1]))) == node;
}

/*
 * A cached stack has what it was created with; another size or node is of no use.
 * What its last thread did not use is zero still.
 */
static struct kstack *kstack_from_cache(size_t populate, int node)
{
	unsigned int i;

	for (i = 0; i < NR_CACHED; i++) {
		struct kstack *ks = this_cpu_xchg(kstack_cache[i], NULL);

		if (!ks)
			continue;
		if (kstack_mapped(ks) == populate && kstack_is_on(ks, node)) {
			memset((void *)kstack_top(ks) - ks->used, 0, ks->used);
			VM_WARN_ON_ONCE(memchr_inv((void *)kstack_low(ks), 0, populate));
			return ks;
		}
		kstack_destroy(ks);
	}
	return NULL;
}

static bool kstack_to_cache(struct kstack *ks)
{
	unsigned int i;

	/* One that has joined another class has another size than those that are created. */
	if (ks->grows[KSTACK_CLASS] || kstack_mapped(ks) != ks->populate || kstack_listed(ks))
		return false;
	for (i = 0; i < NR_CACHED; i++) {
		if (!this_cpu_cmpxchg(kstack_cache[i], NULL, ks))
			return true;
	}
	return false;
}

/**
 * kstack_alloc - memory for a new thread's stack
 * @tsk: the thread; its stack fields are set
 * @node: NUMA node or NUMA_NO_NODE
 * @size: bytes to map now, and to grow to
 * @stats: where to count the stack
 *
 * Return: 0 or -ENOMEM. The pages are charged to current's memcg.
 */
int kstack_alloc(struct task_struct *tsk, int node, struct kstack_size size,
		 struct kstack_stats __percpu *stats)
{
	struct kstack *ks = kstack_from_cache(size.populate, node);

	if (!ks)
		ks = kstack_create(node, size.populate);
	if (!ks) {
		this_cpu_inc(stats->failed_nomem);
		return -ENOMEM;
	}

	kstack_set_size(ks, size);
	ks->exiting = false;
	ks->ended = false;
	memset(ks->grows, 0, sizeof(ks->grows));
	kstack_trim_reset(ks);
	kstack_count_with(ks, stats);
	if (kstack_charge(ks, GFP_KERNEL)) {
		spin_lock_irq(&ks->charge_lock);
		kstack_uncharge(ks);
		kstack_count_with(ks, NULL);
		spin_unlock_irq(&ks->charge_lock);
		kstack_destroy(ks);
		this_cpu_inc(stats->failed_nomem);
		return -ENOMEM;
	}
	ks->task = tsk;
	tsk->kstack = ks;
	tsk->stack = ks->base;
	tsk->stack_vm_area = ks->vm;
	tsk->stack_low = kstack_low(ks);
	clear_tsk_thread_flag(tsk, TIF_KSTACK);
	if (size.trim_cold && stack_policy_watch(ks, 0))
		stack_policy_watch_soon();
	return 0;
}

static void kstack_free_work(struct work_struct *work)
{
	struct kstack *ks = container_of(to_rcu_work(work), struct kstack, free_work);

	kstack_unlist(ks);
	/* Of a thread that died in the middle of its exit. */
	spin_lock_irq(&ks->charge_lock);
	kstack_uncharge(ks);
	spin_unlock_irq(&ks->charge_lock);
	if (kstack_retained(ks) || !kstack_to_cache(ks))
		kstack_destroy(ks);
}

/*
 * Its thread does not have it any more; only reclaim and whoever watches it may know it. If
 * they do not, no lock: this is where a PREEMPT_RT kernel may not take one.
 */
static void kstack_uncount(struct kstack *ks)
{
	unsigned long flags;

	if (!kstack_listed(ks) && !stack_policy_is_watched(ks)) {
		ks->task = NULL;
		kstack_count_with(ks, NULL);
		return;
	}
	spin_lock_irqsave(&ks->charge_lock, flags);
	ks->task = NULL;
	kstack_count_with(ks, NULL);
	spin_unlock_irqrestore(&ks->charge_lock, flags);
}

/*
 * The thread is gone, nobody is on its stack any more. Any context but NMI: what
 * has to sleep does so later.
 */
void kstack_free(struct kstack *ks)
{
	ks->used = kstack_used(ks, kstack_low(ks), kstack_top(ks));
	if (ks->ended)
		this_cpu_inc(ks->stats->depth[(max(ks->high, ks->used) - 1) / 1024]);
	kstack_uncount(ks);
	/* A recursive oops leaves its accounts open: they are settled in a worker. */
	if (!ks->accounted && kstack_to_cache(ks))
		return;
	INIT_RCU_WORK(&ks->free_work, kstack_free_work);
	queue_rcu_work(kstack_free_wq, &ks->free_work);
}

static int kstack_cpu_dead(unsigned int cpu)
{
	struct kstack **cache = per_cpu_ptr(kstack_cache, cpu);
	unsigned int i;

	/* Its last steps are past the last interrupt that it takes. */
	kstack_catch_up(cpu);
	for (i = 0; i < NR_CACHED; i++) {
		struct kstack *ks = xchg(&cache[i], NULL);

		if (ks)
			kstack_destroy(ks);
	}
	return 0;
}

void __init kstack_init(void)
{
	kstack_cachep = KMEM_CACHE(kstack, SLAB_PANIC | SLAB_ACCOUNT);
	kstack_free_wq = alloc_workqueue("kstack_free", WQ_UNBOUND | WQ_MEM_RECLAIM, 1);
	if (!kstack_free_wq)
		panic("kstack: no workqueue to free stacks\n");
}

static int __init kstack_cpu_init(void)
{
	int ret = cpuhp_setup_state_nocalls(CPUHP_BP_PREPARE_DYN, "mm:kstack", NULL,
					    kstack_cpu_dead);

	return min(ret, 0);
}
early_initcall(kstack_cpu_init);


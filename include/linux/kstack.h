/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Stack memory (mm/kstack.c) as the policy and the architecture see it. It
 * knows spans, pages and the per-CPU reserve, not classes.
 */
#ifndef _LINUX_KSTACK_H
#define _LINUX_KSTACK_H

#include <linux/llist.h>
#include <linux/percpu-defs.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#define KSTACK_PAGES	(THREAD_SIZE / PAGE_SIZE)
#define KSTACK_DEPTHS	(THREAD_SIZE / 1024)

/*
 * Pages in a CPU's reserve. A stack can grow by KSTACK_PAGES - 1, and they are
 * replaced as soon as interrupts are on. With interrupts off a CPU can run on
 * two stacks: the one that is left and the one that is switched to. One page
 * more may be on its way. See "How large the reserve is" in
 * Documentation/mm/stack-policy.rst.
 */
#define KSTACK_RESERVE		(2 * KSTACK_PAGES)
#define KSTACK_RESERVE_FLOOR	(KSTACK_RESERVE - 2 * (KSTACK_PAGES - 1) - 1)
#define KSTACK_FRAMES		64

enum kstack_cause {
	KSTACK_ENSURE,		/* asked for before it was needed */
	KSTACK_FAULT,		/* an overflow nobody foresaw */
	KSTACK_CLASS,		/* the thread changed its class */
	KSTACK_NR_CAUSES,
};

/*
 * Counters of stacks of one kind: per CPU, only the sum over all of them means
 * anything. Whose stacks they are is up to the caller of kstack_alloc().
 */
struct kstack_stats {
	unsigned long	stacks;			/* that a thread has now */
	unsigned long	pages;			/* mapped in those */
	unsigned long	charged;		/* of these: charged and in KernelStack */
	unsigned long	grows[KSTACK_NR_CAUSES];
	unsigned long	failed_nomem;		/* stacks and growths, for want of a page */
	unsigned long	failed_limit;		/* growths, because of the limit */
	unsigned long	depth[KSTACK_DEPTHS];	/* exits, by kB used at most */
};

/* One CPU's reserve. */
struct kstack_reserve_stats {
	unsigned long	taken;			/* pages, since boot */
	unsigned long	refill_failed;		/* attempts without a page */
	unsigned int	low_water;		/* fewest pages left, since it is online */
};

/* A backtrace, and the bytes of stack that each of its functions uses. */
struct kstack_frames {
	unsigned int	nr;
	unsigned long	ip[KSTACK_FRAMES];
	u16		bytes[KSTACK_FRAMES];
};

/*
 * One stack. Which pages are mapped is what the page tables say: one run from
 * the top down to task->stack_low. Pages are added by code that runs on this
 * stack only, an overflow fault inside such code included, hence cmpxchg on
 * the PTE instead of a lock.
 */
struct kstack {
	void			*base;		/* lowest address of the span */
	struct vm_struct	*vm;
	pte_t			*ptep;		/* PTE of @base; 8 in a row */
	struct task_struct	*task;		/* owner, NULL while cached */
	unsigned int		populate;	/* bytes mapped at creation */
	unsigned int		limit;		/* bytes it may grow to */
	spinlock_t		charge_lock;	/* the next two, and stats */
	unsigned long		accounted;	/* bit per page: charged and counted */
	bool			exiting;	/* that was settled for good */
	bool			charge_queued;	/* with charge_node, by a fault */
	struct llist_node	charge_node;
	unsigned int		grows[KSTACK_NR_CAUSES];
	struct kstack_stats __percpu *stats;	/* where this stack is counted */
	struct rcu_work		free_work;
};

void __init kstack_init(void);
bool kstack_ready(void);
int kstack_alloc(struct task_struct *tsk, int node, size_t populate, size_t limit,
		 struct kstack_stats __percpu *stats);
void kstack_account_exit(struct kstack *ks);
void kstack_free(struct kstack *ks);
int kstack_populate_current(size_t populate, size_t limit,
			    struct kstack_stats __percpu *stats);
int kstack_grow(struct kstack *ks, unsigned long to, gfp_t gfp,
		enum kstack_cause cause);
unsigned long kstack_low(const struct kstack *ks);
unsigned long kstack_deepest(const struct kstack *ks);
unsigned long kstack_mapped(const struct kstack *ks);
struct kstack *kstack_of_top_page(const struct page *page, unsigned long base);
unsigned int kstack_reserve_count(int cpu);
void kstack_refill_now(void);
void kstack_reserve_read(int cpu, struct kstack_reserve_stats *stats);

/* Why stacks cannot grow by fault on this machine, or NULL. */
const char *arch_stack_policy_cannot_grow(void);
/* The backtrace of @task's stack from @regs. As an NMI is. */
void arch_stack_policy_walk(struct task_struct *task, struct pt_regs *regs,
			    struct kstack_frames *frames);

/* Policy's side of a growth by fault; called from the fault, as an NMI is. */
bool stack_policy_may_survive(void);
void stack_policy_record_fault(struct kstack *ks, struct pt_regs *regs,
			       unsigned long from, unsigned long to, int vector);
/* It did not grow: @ret of kstack_grow(). The machine is about to die of it. */
void stack_policy_explain(const struct kstack *ks, int ret);

#endif /* _LINUX_KSTACK_H */

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Stack memory (mm/kstack.c) as the policy and the architecture see it. It
 * knows spans, pages and the per-CPU reserve, not classes.
 */
#ifndef _LINUX_KSTACK_H
#define _LINUX_KSTACK_H

#include <linux/percpu-defs.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

#define KSTACK_PAGES	(THREAD_SIZE / PAGE_SIZE)
#define KSTACK_DEPTHS	(THREAD_SIZE / 1024)

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
	unsigned long	grows[KSTACK_NR_CAUSES];
	unsigned long	failed_nomem;		/* stacks and growths, for want of a page */
	unsigned long	failed_limit;		/* growths, because of the limit */
	unsigned long	depth[KSTACK_DEPTHS];	/* exits, by kB used at most */
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
	unsigned long		accounted;	/* bit per page: in the counters */
	bool			exiting;	/* counters were settled for good */
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

/* Why stacks cannot grow by fault on this machine, or NULL. */
const char *arch_stack_policy_cannot_grow(void);

/* Policy's side of a growth by fault; called from the fault, as an NMI is. */
bool stack_policy_may_survive(void);
void stack_policy_record_fault(struct kstack *ks, struct pt_regs *regs,
			       unsigned long from, unsigned long to);

#endif /* _LINUX_KSTACK_H */

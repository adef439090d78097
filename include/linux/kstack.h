/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Stack memory (mm/kstack.c) as the policy and the architecture see it. It
 * knows spans, pages and the per-CPU reserve, not classes.
 */
#ifndef _LINUX_KSTACK_H
#define _LINUX_KSTACK_H

#include <linux/list.h>
#include <linux/llist.h>
#include <linux/percpu-defs.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#define KSTACK_PAGES	(THREAD_SIZE / PAGE_SIZE)
#define KSTACK_DEPTHS	(THREAD_SIZE / 1024)
#define KSTACK_DELAYS	32

/*
 * Pages in a CPU's reserve. A stack can grow by KSTACK_PAGES - 1, and they are
 * replaced as soon as interrupts are on. With interrupts off a CPU can run on
 * two stacks: the one that is left and the one that is switched to. One page
 * more may be on its way. See "How large the reserve is" in
 * Documentation/mm/stack-policy.rst.
 */
#define KSTACK_RESERVE		(2 * KSTACK_PAGES)
#define KSTACK_RESERVE_FLOOR	(KSTACK_RESERVE - 2 * (KSTACK_PAGES - 1) - 1)

/* Frames of a backtrace that are kept; of a longer one those between are left out. */
#define KSTACK_INNER	32
#define KSTACK_OUTER	32
#define KSTACK_FRAMES	(KSTACK_INNER + 1 + KSTACK_OUTER)

enum kstack_cause {
	KSTACK_ENSURE,		/* asked for before it was needed */
	KSTACK_FAULT,		/* an overflow nobody foresaw */
	KSTACK_FAULT_DEEP,	/* the same, but one that the policy warns of */
	KSTACK_CLASS,		/* the thread changed its class */
	KSTACK_NR_CAUSES,
};

enum kstack_trim {
	KSTACK_EXCESS,		/* what it has beyond its size at creation; by itself */
	KSTACK_COLD,		/* what is below its stack pointer; while it sleeps */
	KSTACK_NR_TRIMS,
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

	/* Giving back, in pages but for the first. */
	unsigned long	trims[KSTACK_NR_TRIMS];	/* times a stack was trimmed */
	unsigned long	retained;		/* unmapped now, not free yet */
	unsigned long	reclaimed;		/* freed */
	unsigned long	restored;		/* to a thread that was woken: its own */
	unsigned long	replaced;		/* the same, others */
	/* Threads that were woken and had to wait for pages; by log2 of microseconds. */
	unsigned long	late_starts;
	unsigned long	late[KSTACK_DELAYS];
};

/* How much stack a thread gets, bytes, and whether it keeps all of it while it sleeps. */
struct kstack_size {
	unsigned int	populate;		/* mapped at creation */
	unsigned int	limit;			/* how far it may grow */
	bool		trim_cold;		/* to what it uses, when it has slept for long */
};

/* One CPU's reserve. */
struct kstack_reserve_stats {
	unsigned long	taken;			/* pages, since boot */
	atomic_long_t	refill_failed;		/* attempts without a page; by workers too */
	unsigned int	low_water;		/* fewest pages left, since it is online */
};

/* Pages for wake-ups. */
struct kstack_pool_stats {
	unsigned int	pages;			/* at hand */
	unsigned long	owed;			/* that cold threads will get */
	unsigned int	waiting;		/* threads that were woken and lack some */
};

/* What a stack has beside functions. In kstack_frames->ip, where those have addresses. */
enum kstack_no_function {
	KSTACK_NOT_UNWOUND,	/* the unwinder found no way on */
	KSTACK_LEFT_OUT,	/* frames between the innermost and the outermost ones */
	KSTACK_USER_REGS,	/* of user mode; a kernel thread has the room for them */
	KSTACK_NR_NO_FUNCTIONS,
};

/*
 * A backtrace, the innermost function first, and the bytes of stack that each of its
 * functions uses. All of them together are what was in use.
 */
struct kstack_frames {
	unsigned int	nr;
	unsigned int	left_out;	/* how many frames that are, or 0 */
	unsigned long	ip[KSTACK_FRAMES];
	u16		bytes[KSTACK_FRAMES];
};

static inline bool kstack_is_function(unsigned long ip)
{
	return ip >= KSTACK_NR_NO_FUNCTIONS;
}

/*
 * One stack. What each of its slots is, the page tables say: EMPTY, PRESENT or
 * RETAINED. PRESENT is one run from the top down to task->stack_low. Pages are
 * added by code that runs on this stack, an overflow fault inside such code
 * included, or as long as its thread is kept asleep, and taken away by its thread
 * or while that is blocked; hence cmpxchg on the PTE instead of a lock.
 */
struct kstack {
	void			*base;		/* lowest address of the span */
	struct vm_struct	*vm;
	pte_t			*ptep;		/* PTE of @base; 8 in a row */
	struct task_struct	*task;		/* owner, NULL while cached */
	struct kstack_stats __percpu *stats;	/* where this stack is counted */
	unsigned int		populate;	/* bytes mapped at creation */
	unsigned int		limit;		/* bytes it may grow to */
	bool			trim_cold;	/* to what is used, after a long sleep */
	unsigned int		want;		/* bytes it had when trimmed cold, 0: has them */
	unsigned int		late_starts;	/* times that it waited for them when woken */
	unsigned int		high;		/* deepest use that was trimmed away */
	unsigned int		used;		/* bytes that are not zero, once it is free */

	spinlock_t		charge_lock;	/* the next two, and stats */
	u8			accounted;	/* bit per page: charged and counted */
	bool			exiting;	/* that was settled for good */
	bool			ended;		/* by its thread: it has run */
	bool			charge_queued;	/* with charge_node, by a fault */
	bool			work_queued;	/* with work, by whoever wants it */

	unsigned int		grows[KSTACK_NR_CAUSES];
	unsigned int		trims[KSTACK_NR_TRIMS];
	u32			trimmed_at;	/* jiffies, of the last trims[EXCESS] */
	int			flushed_cpu;	/* knows no translation of a RETAINED slot */
	struct list_head	retained;	/* of stacks with RETAINED slots */

	/* Policy's: when somebody looks at the thread next. */
	u32			seen_at;	/* when that was last, jiffies */
	u32			seen_switches;	/* how often it had slept by then */
	struct list_head	watch;		/* on one of its lists, this one */
	u8			watched_on;
	bool			arriving;	/* with arrival, on the way there */
	u16			arriving_on;	/* of this CPU */
	struct llist_node	arrival;

	union {
		struct {
			struct llist_node	charge_node;
			struct callback_head	work;
			struct list_head	waiting;	/* woken, and lacks pages */
			u64			late_since;	/* when that was, in ns */
		};
		struct rcu_work			free_work;
	};
};

/* Overflows of this stack that were survived. */
static inline unsigned int kstack_faults(const struct kstack *ks)
{
	return READ_ONCE(ks->grows[KSTACK_FAULT]) + READ_ONCE(ks->grows[KSTACK_FAULT_DEEP]);
}

void __init kstack_init(void);
bool kstack_ready(void);
int kstack_alloc(struct task_struct *tsk, int node, struct kstack_size size,
		 struct kstack_stats __percpu *stats);
void kstack_account_exit(struct kstack *ks);
void kstack_free(struct kstack *ks);
int kstack_populate_current(struct kstack_size size, gfp_t gfp,
			    struct kstack_stats __percpu *stats);
int kstack_grow(struct kstack *ks, unsigned long to, gfp_t gfp,
		enum kstack_cause cause);
unsigned long kstack_low(const struct kstack *ks);
unsigned long kstack_mapped(const struct kstack *ks);
unsigned long kstack_high_water(const struct kstack *ks);
unsigned long kstack_depth(const struct task_struct *tsk);
typedef bool (*kstack_may_trim_fn)(struct task_struct *task);
unsigned int kstack_trim_blocked(struct task_struct *tsk, kstack_may_trim_fn may);
bool kstack_resize(struct task_struct *tsk, struct kstack_size size);
void kstack_trim_soon(struct kstack *ks);
unsigned long kstack_reclaim(void);
bool kstack_is_cold(const struct kstack *ks);
bool kstack_warm(struct task_struct *task, kstack_may_trim_fn must);
struct task_struct *kstack_get_task(struct kstack *ks);
void *kstack_find_page(const struct kstack *ks, const struct page *page);
struct kstack *kstack_of_top_page(const struct page *page, unsigned long base);
unsigned int kstack_reserve_count(int cpu);
void kstack_reserve_read(int cpu, struct kstack_reserve_stats *stats);
void kstack_pool_read(struct kstack_pool_stats *stats);

/* Why stacks cannot grow by fault on this machine, or NULL. */
const char *arch_stack_policy_cannot_grow(void);
/* Bytes that interrupts have used of @cpu's stack at most; 0 if it never came up. */
unsigned long arch_stack_policy_irq_used(unsigned int cpu);
/* The backtrace of @task's stack from @regs, one @add for each frame. As an NMI is. */
typedef void (*kstack_add_frame_fn)(struct kstack_frames *frames, unsigned long ip,
				    unsigned int bytes);
void arch_stack_policy_walk(struct task_struct *task, struct pt_regs *regs,
			    kstack_add_frame_fn add, struct kstack_frames *frames);

/* Policy's side of a growth by fault: may it be, and the record of it. */
bool stack_policy_overflow(struct kstack *ks, struct pt_regs *regs,
			   unsigned long address, int vector);
/* What @cpu has recorded. On that CPU in hard interrupt context, or when it is dead. */
void stack_policy_report_overflows(unsigned int cpu);
/*
 * Policy's side of giving back: look at the thread of @ks before long; forget @ks, which is
 * about to be freed. See there.
 */
bool stack_policy_watch(struct kstack *ks, unsigned long switches);
void stack_policy_watch_soon(void);
unsigned long stack_policy_cold_delay(void);
bool stack_policy_is_watched(struct kstack *ks);
void stack_policy_unwatch(struct kstack *ks);
/* For the record: who was trimmed, what was freed. No locks are held. */
void stack_policy_record_trim(const struct kstack *ks, enum kstack_trim what,
			      unsigned int pages);
void stack_policy_record_reclaim(unsigned long stacks, unsigned long pages);
void stack_policy_record_late(const struct kstack *ks, u64 usecs);
/* Trim whoever may be cold, however short it has slept. Process context. */
void stack_policy_trim_sleepers(void);
/* May the thread not wait for memory? It is held off meanwhile, and keeps its mm. */
bool stack_policy_cannot_be_late(struct task_struct *task);

#endif /* _LINUX_KSTACK_H */

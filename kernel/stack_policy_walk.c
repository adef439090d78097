// SPDX-License-Identifier: GPL-2.0
/*
 * Walks over all threads, a few at a time: to count how deep they are when somebody wants
 * to know, and once at boot to give those from before the reserve what their class gets. Knows
 * threads, not memory.
 */
#include <linux/cpumask.h>
#include <linux/init.h>
#include <linux/irq_work.h>
#include <linux/jiffies.h>
#include <linux/kstack.h>
#include <linux/percpu.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/workqueue.h>

#include "stack_policy.h"

/* Threads between two looks at whether others want the CPU: all of a stack may be read. */
#define WALK_BATCH	64

/* What was counted so long ago is counted again when it is read. */
#define COUNT_AGE	HZ

#define SETTLE_TRIES	20

struct depths {
	u32	switched_out[STACK_POLICY_DEPTHS];
	u32	high_water[STACK_POLICY_DEPTHS];
};

/* Of the walk that is under way, for it alone, and of the last that is complete. */
static struct depths counting[STACK_CLASS_MAX], counted[STACK_CLASS_MAX];
static u64 counted_at = INITIAL_JIFFIES;

/*
 * The next threads from *@pid on. They are pinned one by one; RCU only keeps
 * them from being freed. False if there are no more.
 */
static bool visit_some(int *pid, void (*visit)(struct task_struct *task, struct kstack *ks))
{
	unsigned int i;

	guard(rcu)();
	for (i = 0; i < WALK_BATCH; i++) {
		struct pid *found = find_ge_pid(*pid, &init_pid_ns);
		struct task_struct *task;

		if (!found)
			return false;
		*pid = pid_nr(found) + 1;
		task = pid_task(found, PIDTYPE_PID);
		if (!task || READ_ONCE(task->exit_state) || !try_get_task_stack(task))
			continue;
		if (task->kstack)
			visit(task, task->kstack);
		put_task_stack(task);
	}
	return true;
}

/* @visit holds a reference to the stack of the thread. Process context; may sleep itself. */
void stack_policy_walk(void (*visit)(struct task_struct *task, struct kstack *ks))
{
	int pid = 1;

	while (visit_some(&pid, visit))
		cond_resched();
}

static unsigned int kilobyte(unsigned long bytes)
{
	return min((bytes ? bytes - 1 : 0) / 1024, STACK_POLICY_DEPTHS - 1UL);
}

static void count_depths(struct task_struct *task, struct kstack *ks)
{
	struct depths *depths = &counting[READ_ONCE(task->stack_class)];

	depths->switched_out[kilobyte(kstack_depth(task))]++;
	depths->high_water[kilobyte(kstack_high_water(ks))]++;
}

static void publish_depths(void)
{
	unsigned int class, i;

	for (class = 0; class < STACK_CLASS_MAX; class++) {
		for (i = 0; i < STACK_POLICY_DEPTHS; i++) {
			WRITE_ONCE(counted[class].switched_out[i],
				   counting[class].switched_out[i]);
			WRITE_ONCE(counted[class].high_water[i],
				   counting[class].high_water[i]);
		}
	}
	memset(counting, 0, sizeof(counting));
}

/* Of each CPU's interrupt stack, as of the last walk. */
static DEFINE_PER_CPU(unsigned int, irq_used);

/* Bytes that interrupts have used at most. */
unsigned int stack_policy_irq_used(unsigned int cpu)
{
	return READ_ONCE(per_cpu(irq_used, cpu));
}

static void count_fn(struct work_struct *work)
{
	unsigned int cpu;

	/* Others may have asked while it was being counted. */
	if (get_jiffies_64() - counted_at <= COUNT_AGE)
		return;
	stack_policy_walk(count_depths);
	publish_depths();
	/* All of its zeroes have to be looked at. */
	for_each_possible_cpu(cpu) {
		WRITE_ONCE(per_cpu(irq_used, cpu), arch_stack_policy_irq_used(cpu));
		cond_resched();
	}
	WRITE_ONCE(counted_at, get_jiffies_64());
}
static DECLARE_WORK(count_work, count_fn);

static void want_count_fn(struct irq_work *work)
{
	queue_work(system_unbound_wq, &count_work);
}
/* Of each CPU, in case one goes down with it. */
static DEFINE_PER_CPU(struct irq_work, want_count) = IRQ_WORK_INIT(want_count_fn);

/*
 * What the last complete walk found. If that is old, another one is on its way: whoever
 * wants to know how deep the threads are now asks again. Any context, BPF programs'
 * too.
 */
void stack_policy_sum_depths(enum stack_class class, struct stack_policy_stats *sum)
{
	u64 age = get_jiffies_64() - READ_ONCE(counted_at);
	unsigned int i;

	sum->depths_age_ms = jiffies64_to_msecs(age);
	for (i = 0; i < STACK_POLICY_DEPTHS; i++) {
		sum->depth_kb[i] = READ_ONCE(counted[class].switched_out[i]);
		sum->high_water_kb[i] = READ_ONCE(counted[class].high_water[i]);
	}
	if (age > COUNT_AGE)
		irq_work_queue(raw_cpu_ptr(&want_count));
}

/* Threads from before the reserve that run just now. */
static unsigned int unsettled __initdata;

static void __init visit_to_settle(struct task_struct *task, struct kstack *ks)
{
	unsettled += !stack_policy_settle(task);
}

/*
 * The reserve is there: threads from before it need no more than others. They sleep, or
 * will in a moment. Not later than here: once somebody can have asked one for more stack
 * than it would have had, it keeps that.
 */
static int __init stack_policy_settle_early(void)
{
	unsigned int tries = SETTLE_TRIES;

	if (stack_policy_always_full())
		return 0;
	do {
		unsettled = 0;
		stack_policy_walk(visit_to_settle);
	} while (unsettled && --tries && !schedule_timeout_uninterruptible(1));
	kstack_reclaim();
	return 0;
}
core_initcall(stack_policy_settle_early);

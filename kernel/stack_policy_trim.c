// SPDX-License-Identifier: GPL-2.0
/*
 * When stacks are trimmed: a walk over all threads, a few at a time, finds who
 * has slept for long and who has kept what it grew. On its way it
 * counts how deep the threads are. Knows threads and time, not memory.
 */
#define pr_fmt(fmt) "stack_policy: " fmt

#include <linux/cgroup.h>
#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/kstack.h>
#include <linux/mm_types.h>
#include <linux/percpu.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/prio.h>
#include <linux/sched/task_stack.h>
#include <linux/sysctl.h>
#include <linux/workqueue.h>

#include "stack_policy.h"

/*
 * 5,120 threads a second at most, and a second's rest between two walks. "make
 * bench" says what that costs.
 */
#define WALK_BATCH	256
#define WALK_PAUSE	(HZ / 20)
#define WALK_REST	HZ

#define SETTLE_TRIES	20

#define COLD_SECS_MAX	(24 * 60 * 60)

/* kernel.stack_policy_cold_secs; 0: never */
static unsigned int cold_secs __read_mostly = 10;

struct depths {
	u32	switched_out[STACK_POLICY_DEPTHS];
	u32	high_water[STACK_POLICY_DEPTHS];
};

/* Of the walk that is under way, for it alone, and of the last that is complete. */
static struct depths counting[STACK_CLASS_MAX], counted[STACK_CLASS_MAX];

static void stack_policy_walk_fn(struct work_struct *work);
static DECLARE_DELAYED_WORK(stack_policy_walk, stack_policy_walk_fn);

static unsigned int kilobyte(unsigned long bytes)
{
	return min((bytes ? bytes - 1 : 0) / 1024, STACK_POLICY_DEPTHS - 1UL);
}

static void count_depths(struct task_struct *task, const struct kstack *ks)
{
	struct depths *depths = &counting[READ_ONCE(task->stack_class)];

	depths->switched_out[kilobyte(kstack_depth(task))]++;
	depths->high_water[kilobyte(READ_ONCE(ks->high))]++;
}

static bool is_cold(const struct kstack *ks)
{
	unsigned int secs = READ_ONCE(cold_secs);

	return secs && (u32)jiffies - ks->seen_at >= secs * HZ;
}

/*
 * What is taken from a sleeping thread may make it start late when it is woken. So only from
 * one that others do not depend on. Kernel threads and workers free memory for others, carry work
 * queues, stop CPUs, reap, and new kinds of them are easily forgotten; IO flushers
 * do what a kernel thread would. All threads of a frozen cgroup wake up at once. None of
 * these it can become in its sleep.
 */
static bool others_depend_on(struct task_struct *task)
{
	return READ_ONCE(task->flags) & (PF_KTHREAD | PF_USER_WORKER | PF_IO_WORKER |
					 PF_EXITING | PF_DUMPCORE | PF_MEMALLOC |
					 PF_MEMALLOC_NOIO | PF_LOCAL_THROTTLE) ||
	       cgroup_task_frozen(task);
}

/*
 * A real-time thread has a deadline, and so has a thread with a lock that such a one waits
 * for; a process that locks its memory does not wait for it. That can change while the
 * thread sleeps. Asked with the thread held off, so that its mm stays.
 */
bool stack_policy_cannot_be_late(struct task_struct *task)
{
	return READ_ONCE(task->prio) < MAX_RT_PRIO ||
	       (task->mm && READ_ONCE(task->mm->locked_vm));
}

/* An uninterruptible sleeper may have been handed a lock meanwhile. */
static bool is_interruptible(struct task_struct *task)
{
	return (READ_ONCE(task->__state) & TASK_NORMAL) == TASK_INTERRUPTIBLE;
}

static bool may_be_cold(struct task_struct *task)
{
	return is_interruptible(task) && task->mm && !others_depend_on(task) &&
	       !stack_policy_cannot_be_late(task);
}

static void trim_thread(struct task_struct *task, struct kstack *ks, bool cold)
{
	if (kstack_is_cold(ks)) {
		kstack_warm(task, stack_policy_cannot_be_late);
		return;
	}
	/* The first two again, under the lock. */
	if (cold && is_interruptible(task) && !others_depend_on(task) &&
	    kstack_trim_blocked(task, may_be_cold))
		return;
	/* It kept that because it grows often. */
	if (kstack_mapped(ks) > READ_ONCE(ks->populate))
		kstack_trim_soon(ks);
}

/* The walk's: ages a thread. Its pages are looked at only if it has run since. */
static void visit_thread(struct task_struct *task, struct kstack *ks)
{
	u32 switches = READ_ONCE(task->nvcsw) + READ_ONCE(task->nivcsw);

	if (switches != ks->seen_switches || !ks->high) {
		ks->seen_switches = switches;
		ks->seen_at = jiffies;
		kstack_note_high(ks);
	}
	count_depths(task, ks);
	trim_thread(task, ks, is_cold(ks));
}

/* Threads from before the reserve that run just now. */
static unsigned int unsettled __initdata;

static void __init visit_to_settle(struct task_struct *task, struct kstack *ks)
{
	unsettled += !stack_policy_settle(task);
}

static void visit_to_trim(struct task_struct *task, struct kstack *ks)
{
	trim_thread(task, ks, true);
}

/*
 * The next threads from *@pid on. They are pinned one by one; RCU only keeps
 * them from being freed. False if there are no more.
 */
static bool visit_some(int *pid, void (*visit_one)(struct task_struct *task,
						   struct kstack *ks))
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
			visit_one(task, task->kstack);
		put_task_stack(task);
	}
	return true;
}

/* Of each CPU's interrupt stack, as of the last walk but for so many as there are CPUs. */
static DEFINE_PER_CPU(unsigned int, irq_used);

/* Bytes that interrupts have used at most. */
unsigned int stack_policy_irq_used(unsigned int cpu)
{
	return READ_ONCE(per_cpu(irq_used, cpu));
}

/* One CPU's after each walk, as all of its zeroes have to be looked at. */
static void look_at_irq_stack(void)
{
	static unsigned int cpu;

	cpu = cpumask_next(cpu, cpu_possible_mask);
	if (cpu >= nr_cpu_ids)
		cpu = cpumask_first(cpu_possible_mask);
	WRITE_ONCE(per_cpu(irq_used, cpu), arch_stack_policy_irq_used(cpu));
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

/* What the last complete walk found. */
void stack_policy_sum_depths(enum stack_class class, struct stack_policy_stats *sum)
{
	unsigned int i;

	for (i = 0; i < STACK_POLICY_DEPTHS; i++) {
		sum->depth_kb[i] = READ_ONCE(counted[class].switched_out[i]);
		sum->high_water_kb[i] = READ_ONCE(counted[class].high_water[i]);
	}
}

static void stack_policy_walk_fn(struct work_struct *work)
{
	static int pid = 1;

	if (visit_some(&pid, visit_thread)) {
		queue_delayed_work(system_unbound_wq, &stack_policy_walk, WALK_PAUSE);
		return;
	}
	pid = 1;
	publish_depths();
	look_at_irq_stack();
	/* Together with what else wakes an idle machine. */
	queue_delayed_work(system_unbound_wq, &stack_policy_walk,
			   round_jiffies_relative(WALK_REST));
}

void stack_policy_trim_sleepers(void)
{
	int pid = 1;

	while (visit_some(&pid, visit_to_trim))
		cond_resched();
}

/* debugfs: whoever sleeps, now, and free it. */
static ssize_t trim_write(struct file *file, const char __user *buf, size_t len,
			  loff_t *ppos)
{
	stack_policy_trim_sleepers();
	kstack_reclaim();
	return len;
}

const struct file_operations stack_policy_trim_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= trim_write,
	.llseek	= noop_llseek,
};

static const unsigned int cold_secs_max = COLD_SECS_MAX;

static struct ctl_table cold_sysctls[] = {
	{
		.procname	= "stack_policy_cold_secs",
		.data		= &cold_secs,
		.maxlen		= sizeof(cold_secs),
		.mode		= 0644,
		.proc_handler	= proc_douintvec_minmax,
		.extra1		= SYSCTL_ZERO,
		.extra2		= (void *)&cold_secs_max,
	},
};

/*
 * The reserve is there: threads from before it need no more than others. They sleep, or
 * will in a moment. Not later than here: once somebody can have asked one for more stack
 * than it would have had, it keeps that.
 */
static int __init stack_policy_settle_early(void)
{
	unsigned int tries = SETTLE_TRIES;
	int pid;

	if (stack_policy_always_full())
		return 0;
	do {
		pid = 1;
		unsettled = 0;
		while (visit_some(&pid, visit_to_settle))
			cond_resched();
	} while (unsettled && --tries && !schedule_timeout_uninterruptible(1));
	kstack_reclaim();
	return 0;
}
core_initcall(stack_policy_settle_early);

static int __init stack_policy_trim_init(void)
{
	register_sysctl_init("kernel", cold_sysctls);
	/* All stacks are permanent then. */
	if (stack_policy_always_full())
		return 0;
	queue_delayed_work(system_unbound_wq, &stack_policy_walk, WALK_REST);
	return 0;
}
late_initcall(stack_policy_trim_init);

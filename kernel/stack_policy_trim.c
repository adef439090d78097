// SPDX-License-Identifier: GPL-2.0
/*
 * When stacks are trimmed. A thread that may have stack to give is on a list: a new one, one
 * that was woken from cold, one that has kept what it grew. A worker looks at it some time
 * later, then later and later, and those that sleep are trimmed. Cold ones are looked at now and
 * then; who never will be cold is on no list. Knows threads and time, not memory.
 */
#define pr_fmt(fmt) "stack_policy: " fmt

#include <linux/cgroup.h>
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/kstack.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/prio.h>
#include <linux/sched/task_stack.h>
#include <linux/sysctl.h>
#include <linux/workqueue.h>

#include "stack_policy.h"

#define COLD_SECS_MAX	(24 * 60 * 60)
#define COLD_MS_MAX	(COLD_SECS_MAX * MSEC_PER_SEC)

/* kernel.stack_policy_cold_ms; 0: never */
static unsigned int cold_ms __read_mostly = 100;

/*
 * Stacks by when they are looked at next. At first that is after cold_ms. Who was busy goes on to
 * the next list, each four times as long, up to a second. Who sleeps and may not be trimmed is
 * on the slow one in the end. Who is cold is looked at as well: it may have become one that
 * cannot wait for memory. Who arrives with something else to give is looked at in a second,
 * however long the others are left alone.
 */
enum { FIRST, BUSIEST = 4, SLOW, SOON, COLD, NR_WATCHED };

#define BUSY_MAX	(1UL * HZ)
#define SLOW_DELAY	(16UL * HZ)
#define COLD_DELAY	(32UL * HZ)

static struct list_head watched[NR_WATCHED] = {
	LIST_HEAD_INIT(watched[0]), LIST_HEAD_INIT(watched[1]), LIST_HEAD_INIT(watched[2]),
	LIST_HEAD_INIT(watched[3]), LIST_HEAD_INIT(watched[4]), LIST_HEAD_INIT(watched[5]),
	LIST_HEAD_INIT(watched[6]), LIST_HEAD_INIT(watched[7]),
};
static_assert(NR_WATCHED == 8);
/* Protects these lists, and keeps stacks that are on them. */
static DEFINE_MUTEX(watch_mutex);
/* Looked at before the mutex is let go for a moment. */
#define WATCH_BATCH	64

/* Stacks on their way there. Any context. */
static DEFINE_PER_CPU(struct llist_head, arrivals);
/* The worker comes before long, and takes them. */
static bool watching = true;
/* cold_ms was changed. */
static bool watch_anew;

static void stack_policy_watch_fn(struct work_struct *work);
static DECLARE_DELAYED_WORK(watch_work, stack_policy_watch_fn);

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

/*
 * The thread of @ks may have something to give before long, or did not give all. @switches:
 * how often it has slept so far. Any context but NMI; by the thread itself, or by whoever
 * keeps it from running.
 *
 * Return: true if stack_policy_watch_soon() has to be called, from where work can be queued.
 */
bool stack_policy_watch(struct kstack *ks, unsigned long switches)
{
	int cpu = raw_smp_processor_id();

	/* Nobody would look. */
	if (stack_policy_always_full())
		return false;
	WRITE_ONCE(ks->seen_switches, switches);
	WRITE_ONCE(ks->seen_at, jiffies);
	if (!xchg(&ks->arriving, true)) {
		ks->arriving_on = cpu;
		llist_add(&ks->arrival, per_cpu_ptr(&arrivals, cpu));
	}
	return !READ_ONCE(watching);
}

/* How long a thread sleeps before it is trimmed, jiffies. If none is: a second. */
unsigned long stack_policy_cold_delay(void)
{
	return msecs_to_jiffies(READ_ONCE(cold_ms)) ?: HZ;
}

static unsigned long delay_of(unsigned int list)
{
	unsigned long cold = stack_policy_cold_delay();

	if (list == SOON)
		return BUSY_MAX;
	if (list == COLD)
		return COLD_DELAY;
	if (list == SLOW)
		return max(cold, SLOW_DELAY);
	return min(cold << 2 * list, max(cold, BUSY_MAX));
}

/* How exact these are. */
static unsigned long tick(void)
{
	return min(delay_of(FIRST), BUSY_MAX) / 4 ?: 1;
}

static bool any_arrivals(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		if (!llist_empty(per_cpu_ptr(&arrivals, cpu)))
			return true;
	}
	return false;
}

static void watch_in_a_tick(void)
{
	if (!xchg(&watching, true))
		mod_delayed_work(system_unbound_wq, &watch_work, tick());
}

/* Process or hard interrupt context. */
void stack_policy_watch_soon(void)
{
	if (!READ_ONCE(watching) && any_arrivals())
		watch_in_a_tick();
}

static bool has_excess(const struct kstack *ks)
{
	return kstack_mapped(ks) > READ_ONCE(ks->populate);
}

static void take_arrivals(int cpu)
{
	struct llist_node *list = llist_del_all(per_cpu_ptr(&arrivals, cpu));
	struct kstack *ks, *next;

	lockdep_assert_held(&watch_mutex);
	llist_for_each_entry_safe(ks, next, llist_reverse_order(list), arrival) {
		ks->watched_on = kstack_is_cold(ks) || has_excess(ks) ? SOON : FIRST;
		list_move_tail(&ks->watch, &watched[ks->watched_on]);
		/* Pairs with stack_policy_is_watched(). */
		smp_store_release(&ks->arriving, false);
	}
}

/* Is the worker about to look at the thread of @ks, or may be? */
bool stack_policy_is_watched(struct kstack *ks)
{
	/* Pairs with take_arrivals(): where it does not arrive any more, it is on a list. */
	return smp_load_acquire(&ks->arriving) || !list_empty_careful(&ks->watch);
}

/* @ks has no thread, and is about to be freed. May sleep. */
void stack_policy_unwatch(struct kstack *ks)
{
	mutex_lock(&watch_mutex);
	if (ks->arriving) {
		take_arrivals(ks->arriving_on);
		/* Those that came with it count on whoever takes them. */
		watch_in_a_tick();
	}
	list_del_init(&ks->watch);
	mutex_unlock(&watch_mutex);
}

/* For who has run since it was looked at on @list, or could not be. */
static unsigned int list_for_busy(unsigned int list)
{
	return list == SOON ? FIRST + 1 : min(list + 1, BUSIEST);
}

/* For who sleeps, and is not trimmed. */
static unsigned int list_for_idle(unsigned int list)
{
	return list == SOON ? FIRST + 1 : min(list + 1, SLOW);
}

/* Kernel threads and workers are never trimmed, and what they grew they keep. */
static bool is_of_no_interest(struct task_struct *task, struct kstack *ks)
{
	return READ_ONCE(task->flags) & (PF_KTHREAD | PF_USER_WORKER | PF_IO_WORKER | PF_EXITING) ||
	       !READ_ONCE(ks->trim_cold);
}

/* What it kept because it grows often goes when it goes to user mode next. */
static void trim_excess(struct kstack *ks)
{
	if (has_excess(ks))
		kstack_trim_soon(ks);
}

/* Return: is it cold? */
static bool trim_or_warm(struct task_struct *task, struct kstack *ks)
{
	if (kstack_is_cold(ks)) {
		kstack_warm(task, stack_policy_cannot_be_late);
		return true;
	}
	trim_excess(ks);
	/* The first two again, under the lock. */
	return is_interruptible(task) && !others_depend_on(task) &&
	       kstack_trim_blocked(task, may_be_cold);
}

/*
 * Who sleeps, and has not been woken more than once since the last look, has slept for
 * most of the time.
 *
 * Return: the list for @task from now on, NR_WATCHED for none.
 */
static unsigned int look_at(struct task_struct *task, struct kstack *ks)
{
	u32 switches = READ_ONCE(task->nvcsw);
	bool busy = switches - READ_ONCE(ks->seen_switches) > 1 ||
		    READ_ONCE(task->__state) == TASK_RUNNING;

	WRITE_ONCE(ks->seen_switches, switches);
	if ((!busy && READ_ONCE(cold_ms)) || kstack_is_cold(ks)) {
		if (trim_or_warm(task, ks))
			return COLD;
	} else {
		trim_excess(ks);
	}
	if (is_of_no_interest(task, ks))
		return NR_WATCHED;
	return busy ? list_for_busy(ks->watched_on) : list_for_idle(ks->watched_on);
}

static void visit(struct kstack *ks)
{
	unsigned int list = list_for_busy(ks->watched_on);
	struct task_struct *task;

	guard(rcu)();
	task = kstack_get_task(ks);
	if (task) {
		list = look_at(task, ks);
		put_task_stack(task);
	} else if (!READ_ONCE(ks->task)) {
		/* Its next one arrives. */
		list = NR_WATCHED;
	}
	ks->watched_on = list;
	WRITE_ONCE(ks->seen_at, jiffies);
	if (list < NR_WATCHED)
		list_move_tail(&ks->watch, &watched[list]);
	else
		list_del_init(&ks->watch);
}

static struct kstack *first_on(unsigned int list)
{
	return list_first_entry_or_null(&watched[list], struct kstack, watch);
}

/* In jiffies, until the first on @list is due. */
static unsigned long due_in(unsigned int list)
{
	struct kstack *ks = first_on(list);
	s32 waited;

	if (!ks)
		return MAX_JIFFY_OFFSET;
	waited = (u32)jiffies - READ_ONCE(ks->seen_at);
	return delay_of(list) - clamp_t(long, waited, 0, delay_of(list));
}

/*
 * Those that are due at @now: each of them once, however long that takes. Where it does not matter
 * much, those that will be soon, too: the worker comes less often.
 */
static void visit_due(unsigned int list, u32 now)
{
	unsigned long delay = delay_of(list);
	unsigned int nr = 0;
	struct kstack *ks;

	if (list != FIRST)
		delay -= delay / 4;
	while ((ks = first_on(list)) && (s32)(now - READ_ONCE(ks->seen_at)) >= (s32)delay) {
		visit(ks);
		if (++nr % WATCH_BATCH)
			continue;
		/* For who frees a stack. */
		mutex_unlock(&watch_mutex);
		cond_resched();
		mutex_lock(&watch_mutex);
	}
}

/* As if they had just come: the longest there first. */
static void start_anew(void)
{
	unsigned int list;
	struct kstack *ks;

	for (list = FIRST + 1; list <= SLOW; list++) {
		list_for_each_entry(ks, &watched[list], watch)
			ks->watched_on = FIRST;
		list_splice_init(&watched[list], &watched[FIRST]);
	}
}

static void stack_policy_watch_fn(struct work_struct *work)
{
	unsigned long next = MAX_JIFFY_OFFSET;
	unsigned int list;
	u32 now;
	int cpu;

	mutex_lock(&watch_mutex);
	for_each_possible_cpu(cpu)
		take_arrivals(cpu);
	if (xchg(&watch_anew, false))
		start_anew();
	now = jiffies;
	for (list = 0; list < NR_WATCHED; list++)
		visit_due(list, now);
	for (list = 0; list < NR_WATCHED; list++)
		next = min(next, due_in(list));
	/* Who arrives from here on calls us; who has just arrived may not have. */
	smp_store_mb(watching, next <= tick());
	if (any_arrivals()) {
		WRITE_ONCE(watching, true);
		next = tick();
	}
	mutex_unlock(&watch_mutex);
	if (next != MAX_JIFFY_OFFSET)
		queue_delayed_work(system_unbound_wq, &watch_work, max(next, tick()));
}

static void visit_to_trim(struct task_struct *task, struct kstack *ks)
{
	trim_or_warm(task, ks);
}

void stack_policy_trim_sleepers(void)
{
	stack_policy_walk(visit_to_trim);
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

static const unsigned int cold_ms_max = COLD_MS_MAX, cold_secs_max = COLD_SECS_MAX;

static void cold_changed(void)
{
	/* All stacks are permanent then. */
	if (stack_policy_always_full())
		return;
	WRITE_ONCE(watch_anew, true);
	WRITE_ONCE(watching, true);
	mod_delayed_work(system_unbound_wq, &watch_work, 0);
}

static int cold_ms_handler(const struct ctl_table *ctl, int write, void *buffer,
			   size_t *lenp, loff_t *ppos)
{
	int ret = proc_douintvec_minmax(ctl, write, buffer, lenp, ppos);

	if (write && !ret)
		cold_changed();
	return ret;
}

/* The same in seconds, rounded up: less than one is not never. */
static int cold_secs_handler(const struct ctl_table *ctl, int write, void *buffer,
			     size_t *lenp, loff_t *ppos)
{
	unsigned int secs = DIV_ROUND_UP(READ_ONCE(cold_ms), MSEC_PER_SEC);
	struct ctl_table tmp = *ctl;
	int ret;

	tmp.data = &secs;
	ret = proc_douintvec_minmax(&tmp, write, buffer, lenp, ppos);
	if (write && !ret) {
		WRITE_ONCE(cold_ms, secs * MSEC_PER_SEC);
		cold_changed();
	}
	return ret;
}

static struct ctl_table cold_sysctls[] = {
	{
		.procname	= "stack_policy_cold_ms",
		.data		= &cold_ms,
		.maxlen		= sizeof(cold_ms),
		.mode		= 0644,
		.proc_handler	= cold_ms_handler,
		.extra1		= SYSCTL_ZERO,
		.extra2		= (void *)&cold_ms_max,
	},
	{
		.procname	= "stack_policy_cold_secs",
		.maxlen		= sizeof(unsigned int),
		.mode		= 0644,
		.proc_handler	= cold_secs_handler,
		.extra1		= SYSCTL_ZERO,
		.extra2		= (void *)&cold_secs_max,
	},
};

static int __init stack_policy_trim_init(void)
{
	register_sysctl_init("kernel", cold_sysctls);
	if (!stack_policy_always_full())
		queue_delayed_work(system_unbound_wq, &watch_work, 0);
	return 0;
}
late_initcall(stack_policy_trim_init);

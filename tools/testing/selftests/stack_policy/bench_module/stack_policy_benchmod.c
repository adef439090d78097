// SPDX-License-Identifier: GPL-2.0
/*
 * What "make bench" measures inside the kernel, stock or ours: each file in debugfs
 * measures when it is read, and has lines of a name and a number of ticks. The time
 * stamp counter counts instructions there.
 */
#define pr_fmt(fmt) "stack_policy_benchmod: " fmt

#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/irq_work.h>
#include <linux/irqflags.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/objtool.h>
#include <linux/sched/task.h>
#include <linux/seq_file.h>

#include <asm/msr.h>

#ifdef CONFIG_STACK_POLICY
#include <linux/stack_policy.h>
#endif

#define ROUNDS	301
#define LIVES	4000
#define WARM_UP	1000
#define CROWD	50

static struct dentry *dir;

static void show_least(struct seq_file *m, const char *name, u64 (*fn)(void))
{
	u64 least = U64_MAX;
	int i;

	for (i = 0; i < ROUNDS; i++)
		least = min(least, fn());
	seq_printf(m, "%s %llu\n", name, least);
}

/* Until it is told to stop. */
static int idle_fn(void *data)
{
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}

/* Hot paths */

static DECLARE_COMPLETION(there);
static DECLARE_COMPLETION(back);
static bool enough;

static int echo_fn(void *data)
{
	while (!READ_ONCE(enough)) {
		wait_for_completion(&there);
		complete(&back);
	}
	return idle_fn(NULL);
}

static u64 kthread_round_trip(void)
{
	u64 start = rdtsc_ordered();

	complete(&there);
	wait_for_completion(&back);
	return rdtsc_ordered() - start;
}

static bool worked;

static void do_work(struct irq_work *work)
{
	WRITE_ONCE(worked, true);
}

static DEFINE_IRQ_WORK(ipi_work, do_work);

/* To this CPU: it is there as soon as it is sent. */
static u64 ipi(void)
{
	u64 start;

	WRITE_ONCE(worked, false);
	start = rdtsc_ordered();
	irq_work_queue(&ipi_work);
	while (!READ_ONCE(worked))
		cpu_relax();
	return rdtsc_ordered() - start;
}

static int hot_show(struct seq_file *m, void *v)
{
	struct task_struct *task;

	WRITE_ONCE(enough, false);
	task = kthread_run(echo_fn, NULL, "bench_echo");
	if (IS_ERR(task))
		return PTR_ERR(task);
	show_least(m, "kthread_round_trip", kthread_round_trip);
	show_least(m, "ipi", ipi);
	WRITE_ONCE(enough, true);
	kthread_round_trip();
	kthread_stop(task);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(hot);

/* Lives of kernel threads */

static struct task_struct *create_plain(void)
{
	return kthread_create(idle_fn, NULL, "bench_idle");
}

/* With the stack that it takes to go deep: there is only one kind on a stock kernel. */
static struct task_struct *create_big(void)
{
#ifdef CONFIG_STACK_POLICY
	return kthread_create_flags_on_node(idle_fn, NULL, KTHREAD_BIG_STACK, NUMA_NO_NODE,
					    "bench_idle");
#else
	return create_plain();
#endif
}

/* @nr threads that are there at once: more than two do not get theirs from a cache. */
static int live(struct task_struct *(*create)(void), struct task_struct **tasks, int nr)
{
	int i, ret = 0;

	for (i = 0; i < nr; i++) {
		tasks[i] = create();
		if (IS_ERR(tasks[i])) {
			ret = PTR_ERR(tasks[i]);
			break;
		}
		wake_up_process(tasks[i]);
	}
	while (i--)
		kthread_stop(tasks[i]);
	return ret;
}

/*
 * The mean of many lives, after others: what is freed later by others is in it, for
 * as many threads as there were.
 */
static const struct lives {
	const char		*name;
	struct task_struct	*(*create)(void);
	int			nr;
} lives[] = {
	{ "kthread_life", create_plain, 1 },
	{ "kthread_life_crowd", create_plain, CROWD },
	{ "kthread_big_life", create_big, 1 },
	{ "kthread_big_life_crowd", create_big, CROWD },
};

static int life_show(struct seq_file *m, void *v)
{
	static struct task_struct *tasks[CROWD];
	const struct lives *l = m->private;
	u64 start = 0;
	int i, ret;

	for (i = 0; i < WARM_UP + LIVES; i += l->nr) {
		if (!start && i >= WARM_UP)
			start = rdtsc_ordered();
		ret = live(l->create, tasks, l->nr);
		if (ret)
			return ret;
	}
	seq_printf(m, "%s %llu\n", l->name, (rdtsc_ordered() - start) / LIVES);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(life);

/* Growth */

#ifdef CONFIG_STACK_POLICY

struct measured {
	struct completion	done;
	unsigned int		pages;		/* to ask for */
	u64			ensure_hit, ensure_one, ensure_pages, net_one, net_five;
};

/* A push that needs the page of @sp - 1. */
static noinline void push_at(unsigned long sp)
{
	unsigned long saved;

	asm volatile("mov %%rsp, %[saved]\n\t"
		     "mov %[sp], %%rsp\n\t"
		     "pushq $0\n\t"
		     "mov %[saved], %%rsp"
		     : [saved] "=&r" (saved)
		     : [sp] "r" (sp)
		     : "memory", "cc");
}
STACK_FRAME_NON_STANDARD(push_at);

#define TICKS(statement) ({			\
	u64 start = rdtsc_ordered(), empty;	\
						\
	empty = rdtsc_ordered() - start;	\
	start = rdtsc_ordered();		\
	statement;				\
	rdtsc_ordered() - start - empty; })

/* The fast path as it is in a caller, for "make bench" to show. */
static noinline notrace int ensure_constant(void)
{
	return stack_ensure(256, GFP_KERNEL);
}

static noinline void measure_one_page(struct measured *m)
{
	size_t bytes = current_stack_pointer - current->stack_low;

	m->ensure_hit = TICKS(ensure_constant());
	m->ensure_one = TICKS(stack_ensure(bytes + 8, GFP_KERNEL));
	m->net_one = TICKS(push_at(current->stack_low));
}

static int measure_one_fn(void *data)
{
	struct measured *m = data;

	local_irq_disable();
	measure_one_page(m);
	local_irq_enable();
	complete(&m->done);
	return 0;
}

static noinline u64 measure_pages(unsigned int nr)
{
	size_t bytes = current_stack_pointer - current->stack_low + (nr - 1) * PAGE_SIZE + 8;

	return TICKS(stack_ensure(bytes, GFP_KERNEL));
}

static int measure_pages_fn(void *data)
{
	struct measured *m = data;

	local_irq_disable();
	m->ensure_pages = measure_pages(m->pages);
	local_irq_enable();
	complete(&m->done);
	return 0;
}

static int measure_net_fn(void *data)
{
	struct measured *m = data;

	local_irq_disable();
	m->net_five = TICKS(push_at(current->stack_low - 4 * PAGE_SIZE));
	local_irq_enable();
	complete(&m->done);
	return 0;
}

static int in_fresh_thread(int (*fn)(void *data), struct measured *m)
{
	struct task_struct *task;

	init_completion(&m->done);
	task = kthread_run(fn, m, "measure");
	if (IS_ERR(task))
		return PTR_ERR(task);
	wait_for_completion(&m->done);
	return 0;
}

/* Growth with a full reserve: it is, again, twenty milliseconds later. */
static int growth_show(struct seq_file *m, void *v)
{
	struct measured least, now;
	int i, ret;

	memset(&least, 0xff, sizeof(least));
	for (i = 0; i < ROUNDS / 10; i++) {
		now.pages = 5;
		ret = in_fresh_thread(measure_one_fn, &now) ?:
		      in_fresh_thread(measure_pages_fn, &now) ?:
		      in_fresh_thread(measure_net_fn, &now);
		if (ret)
			return ret;
		least.ensure_hit = min(least.ensure_hit, now.ensure_hit);
		least.ensure_one = min(least.ensure_one, now.ensure_one);
		least.ensure_pages = min(least.ensure_pages, now.ensure_pages);
		least.net_one = min(least.net_one, now.net_one);
		least.net_five = min(least.net_five, now.net_five);
		msleep(20);
	}
	seq_printf(m, "ensure_hit %llu\nensure_one_page %llu\nensure_five_pages %llu\n",
		   least.ensure_hit, least.ensure_one, least.ensure_pages);
	seq_printf(m, "net_one_page %llu\nnet_five_pages %llu\n", least.net_one, least.net_five);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(growth);

/* Who reads this lets nothing come back into the reserve: its pages go first. */
static int allocator_show(struct seq_file *m, void *v)
{
	struct measured five = { .pages = 5 }, one = { .pages = 1 };
	u64 least_five = U64_MAX, least_one = U64_MAX;
	int i, ret;

	for (i = 0; i < ROUNDS / 10; i++) {
		ret = in_fresh_thread(measure_pages_fn, &five) ?:
		      in_fresh_thread(measure_pages_fn, &one);
		if (ret)
			return ret;
		if (i < 10)
			continue;
		least_five = min(least_five, five.ensure_pages);
		least_one = min(least_one, one.ensure_pages);
	}
	seq_printf(m, "ensure_one_page_allocator %llu\nensure_five_pages_allocator %llu\n",
		   least_one, least_five);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(allocator);

#endif /* CONFIG_STACK_POLICY */

static int __init benchmod_init(void)
{
	int i;

	dir = debugfs_create_dir("stack_policy_bench", NULL);
	debugfs_create_file("hot", 0400, dir, NULL, &hot_fops);
	for (i = 0; i < ARRAY_SIZE(lives); i++)
		debugfs_create_file(lives[i].name, 0400, dir, (void *)&lives[i], &life_fops);
#ifdef CONFIG_STACK_POLICY
	debugfs_create_file("growth", 0400, dir, NULL, &growth_fops);
	debugfs_create_file("allocator", 0400, dir, NULL, &allocator_fops);
#endif
	return 0;
}

static void __exit benchmod_exit(void)
{
	debugfs_remove(dir);
}

module_init(benchmod_init);
module_exit(benchmod_exit);
MODULE_DESCRIPTION("Benchmarks of stack_policy inside the kernel");
MODULE_LICENSE("GPL");

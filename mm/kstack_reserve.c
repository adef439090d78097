// SPDX-License-Identifier: GPL-2.0
/*
 * The reserve: zeroed pages that each CPU keeps for stacks that grow where
 * nothing can be allocated. It is filled before its CPU comes online, refilled
 * as soon as interrupts are on, and if that is lost with the next tick of the
 * timer. Knows no stacks.
 */
#define pr_fmt(fmt) "kstack: " fmt

#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/debugfs.h>
#include <linux/fault-inject.h>
#include <linux/irq_work.h>
#include <linux/kstack.h>
#include <linux/kthread.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/syscore_ops.h>

#include "kstack.h"

#define REFILL_RETRY	HZ

/*
 * Zeroed pages. Slots change by xchg() and cmpxchg() only: a fault may come in
 * between, and a worker may fill from another CPU.
 */
static DEFINE_PER_CPU(struct page *, kstack_reserve[KSTACK_RESERVE]);
/* Something for the refill to do: a slot may be empty, or a page have had none. */
static DEFINE_PER_CPU(bool, kstack_taken_from);
/* Pages that it had no slot for; the next refill frees them. */
static DEFINE_PER_CPU(struct llist_head, kstack_surplus);
/* What became of it. Changed in faults too: this_cpu operations, or before it is online. */
static DEFINE_PER_CPU(struct kstack_reserve_stats, kstack_reserve_stats);
/*
 * Refill: in an interrupt that the CPU sends to itself, once more in its next tick,
 * and from a worker what these cannot get.
 */
struct kstack_refill {
	struct irq_work			now;
	struct irq_work			tick;
	struct kthread_delayed_work	work;
	int				cpu;
};
static DEFINE_PER_CPU(struct kstack_refill, kstack_refill);
/* Is there already, with all of its stack: it must not take a page to get one. */
static struct kthread_worker *kstack_refill_worker __ro_after_init;
/* Set once, when the boot CPU's reserve is full. */
static bool kstack_is_ready __ro_after_init;

bool kstack_ready(void)
{
	return kstack_is_ready;
}

#ifdef CONFIG_FAIL_KSTACK_REFILL
static DECLARE_FAULT_ATTR(fail_kstack_refill);

bool kstack_refill_fails(void)
{
	return should_fail(&fail_kstack_refill, PAGE_SIZE);
}

static DECLARE_FAULT_ATTR(fail_stack_ensure);

/* As if there were no memory for who asks in time. In any context nothing can be printed. */
bool kstack_ensure_fails(gfp_t gfp)
{
	return should_fail_ex(&fail_stack_ensure, PAGE_SIZE, gfp ? 0 : FAULT_NOWARN);
}

/* As if it were raised where there are none any more. */
static bool lose_interrupts;

static bool interrupt_gets_lost(void)
{
	return READ_ONCE(lose_interrupts);
}

static int __init setup_fail_kstack_refill(char *str)
{
	return setup_fault_attr(&fail_kstack_refill, str);
}
__setup("fail_kstack_refill=", setup_fail_kstack_refill);

static int __init fail_kstack_refill_debugfs(void)
{
	struct dentry *dir = fault_create_debugfs_attr("fail_kstack_refill", NULL,
						       &fail_kstack_refill);

	if (IS_ERR(dir))
		return PTR_ERR(dir);
	debugfs_create_bool("lose_interrupts", 0600, dir, &lose_interrupts);
	dir = fault_create_debugfs_attr("fail_stack_ensure", NULL, &fail_stack_ensure);
	return PTR_ERR_OR_ZERO(dir);
}
late_initcall(fail_kstack_refill_debugfs);
#else
static bool interrupt_gets_lost(void)
{
	return false;
}
#endif

/* False if a page is missing still. */
static bool kstack_reserve_fill(int cpu, gfp_t gfp)
{
	struct page **slots = per_cpu_ptr(kstack_reserve, cpu);
	unsigned int i;

	for (i = 0; i < KSTACK_RESERVE; i++) {
		struct page *page;

		if (READ_ONCE(slots[i]))
			continue;
		page = kstack_refill_fails() ? NULL :
			alloc_pages_node(cpu_to_mem(cpu),
					 gfp | __GFP_ZERO | __GFP_NOWARN, 0);
		if (!page) {
			atomic_long_inc(&per_cpu(kstack_reserve_stats, cpu).refill_failed);
			return false;
		}
		if (cmpxchg(&slots[i], NULL, page))
			__free_page(page);
	}
	return true;
}

/* Pages in @cpu's reserve. A snapshot. */
unsigned int kstack_reserve_count(int cpu)
{
	unsigned int i, n = 0;

	for (i = 0; i < KSTACK_RESERVE; i++)
		n += !!READ_ONCE(per_cpu(kstack_reserve, cpu)[i]);
	return n;
}

void kstack_reserve_read(int cpu, struct kstack_reserve_stats *stats)
{
	/* A snapshot as well: its CPU goes on counting. */
	*stats = data_race(per_cpu(kstack_reserve_stats, cpu));
}

/* Any context. */
static void kstack_note_taken(void)
{
	unsigned int left = kstack_reserve_count(smp_processor_id());
	unsigned int low = this_cpu_read(kstack_reserve_stats.low_water);

	this_cpu_inc(kstack_reserve_stats.taken);
	while (left < low &&
	       !this_cpu_try_cmpxchg(kstack_reserve_stats.low_water, &low, left))
		;
}

static void kstack_free_surplus(int cpu)
{
	struct llist_node *node = llist_del_all(per_cpu_ptr(&kstack_surplus, cpu));
	struct llist_node *next;

	llist_for_each_safe(node, next, node)
		free_page((unsigned long)node);
}

/* What this CPU's reserve lacks. Hard interrupt context. */
static void kstack_refill_now(void)
{
	struct kstack_refill *refill = this_cpu_ptr(&kstack_refill);
	gfp_t gfp = GFP_ATOMIC;

	/* First: what is taken from here on is replaced by the next one. */
	if (!this_cpu_xchg(kstack_taken_from, false))
		return;
	/* What is left is what overflows are survived with. */
	if (kstack_reserve_count(refill->cpu) < KSTACK_RESERVE / 2)
		gfp |= __GFP_MEMALLOC;
	kstack_free_surplus(refill->cpu);
	if (!kstack_reserve_fill(refill->cpu, gfp))
		kthread_mod_delayed_work(kstack_refill_worker, &refill->work, 0);
}

static void kstack_refill_irq_fn(struct irq_work *irq)
{
	/* First: the rest may take long. */
	kstack_refill_now();
	kstack_catch_up(smp_processor_id());
}

/* The same. If the interrupt got lost, others wait for it behind ours. */
static void kstack_refill_tick_fn(struct irq_work *irq)
{
	if (irq_work_is_pending(this_cpu_ptr(&kstack_refill.now)))
		arch_irq_work_raise();
	kstack_refill_irq_fn(irq);
}

/*
 * After growth: have the reserve refilled and the rest made up for, in the next
 * interrupt, and should that get lost in the next tick: as long as lazy work is
 * queued, an idle CPU does not stop its tick. Any context, preemption is off.
 */
void kstack_refill_soon(void)
{
	struct kstack_refill *refill = this_cpu_ptr(&kstack_refill);

	/* First, so that one interrupt does both. */
	irq_work_queue(&refill->tick);
	if (!interrupt_gets_lost())
		irq_work_queue(&refill->now);
}

/*
 * The same, whatever is on the CPU's list. irq_work_queue() raises its interrupt only
 * if that is empty. Where an interrupt is lost, because the CPU goes down or sleep
 * resets its APIC, an entry of whoever queued it stays, and no later one is raised.
 */
void kstack_refill_surely(void)
{
	kstack_refill_soon();
	if (!interrupt_gets_lost())
		arch_irq_work_raise();
}

/* Until the reserve is full, whether or not somebody takes from it again. */
static void kstack_refill_work_fn(struct kthread_work *work)
{
	struct kstack_refill *refill = container_of(work, struct kstack_refill, work.work);

	if (!kstack_reserve_fill(refill->cpu, GFP_KERNEL))
		kthread_queue_delayed_work(kstack_refill_worker, &refill->work,
					   REFILL_RETRY);
}

/*
 * A page. Any context. xchg, because a fault may take the same slot meanwhile. The
 * lower half is not for @spare: who can do without leaves it to who cannot, and who
 * cannot takes it last.
 */
struct page *kstack_reserve_take(bool spare)
{
	struct page *page = NULL;
	unsigned int i;

	preempt_disable();
	for (i = KSTACK_RESERVE; i-- > (spare ? KSTACK_RESERVE / 2 : 0) && !page; )
		page = xchg(this_cpu_ptr(&kstack_reserve[i]), NULL);
	if (page)
		kstack_note_taken();
	this_cpu_write(kstack_taken_from, true);
	kstack_refill_soon();
	preempt_enable();
	return page;
}

/* Back into the reserve, zeroed still. For where freeing a page is not safe. */
void kstack_reserve_put(struct page *page)
{
	unsigned int i;

	preempt_disable();
	for (i = 0; i < KSTACK_RESERVE; i++) {
		if (!cmpxchg(this_cpu_ptr(&kstack_reserve[i]), NULL, page))
			break;
	}
	/* Full: somebody refilled already. */
	if (i == KSTACK_RESERVE)
		llist_add(page_address(page), this_cpu_ptr(&kstack_surplus));
	this_cpu_write(kstack_taken_from, true);
	preempt_enable();
}

/*
 * A page of whatever CPU has one, this one first. For a kernel that ends here: it
 * has no refill, and no interrupt that would bring one.
 */
struct page *kstack_reserve_take_last(void)
{
	struct page *page = NULL;
	unsigned int cpu, i;

	for_each_cpu_wrap(cpu, cpu_possible_mask, raw_smp_processor_id()) {
		for (i = 0; i < KSTACK_RESERVE && !page; i++)
			page = xchg(&per_cpu(kstack_reserve, cpu)[i], NULL);
	}
	return page;
}

static void kstack_reserve_drain(unsigned int cpu)
{
	struct page **slots = per_cpu_ptr(kstack_reserve, cpu);
	unsigned int i;

	kstack_free_surplus(cpu);
	for (i = 0; i < KSTACK_RESERVE; i++) {
		struct page *page = xchg(&slots[i], NULL);

		if (page)
			__free_page(page);
	}
}

/* Before @cpu comes online; without a reserve it does not. */
static int kstack_reserve_prepare(unsigned int cpu)
{
	if (kstack_reserve_fill(cpu, GFP_KERNEL)) {
		per_cpu(kstack_reserve_stats, cpu).low_water = KSTACK_RESERVE;
		return 0;
	}
	kstack_reserve_drain(cpu);
	pr_err("no memory for the stack reserve of CPU %u\n", cpu);
	return -ENOMEM;
}

/* On @cpu. Somebody may have left an entry on its list when it went down. */
static int kstack_reserve_online(unsigned int cpu)
{
	guard(preempt)();
	kstack_refill_surely();
	return 0;
}

static int kstack_reserve_dead(unsigned int cpu)
{
	kthread_cancel_delayed_work_sync(&per_cpu(kstack_refill, cpu).work);
	/* Suspend brings it back, with less memory to be had then. */
	if (!cpuhp_tasks_frozen)
		kstack_reserve_drain(cpu);
	return 0;
}

static int __init kstack_reserve_init(void)
{
	int cpu, ret;

	kstack_refill_worker = kthread_create_worker(KTW_BIG_STACK, "kstack_refill");
	if (IS_ERR(kstack_refill_worker)) {
		pr_err("no thread for refills, stacks stay fully populated\n");
		return 0;
	}
	set_user_nice(kstack_refill_worker->task, MIN_NICE);
	for_each_possible_cpu(cpu) {
		struct kstack_refill *refill = per_cpu_ptr(&kstack_refill, cpu);

		init_irq_work(&refill->now, kstack_refill_irq_fn);
		refill->tick = IRQ_WORK_INIT_LAZY(kstack_refill_tick_fn);
		kthread_init_delayed_work(&refill->work, kstack_refill_work_fn);
		refill->cpu = cpu;
	}
	ret = cpuhp_setup_state(CPUHP_BP_PREPARE_DYN, "mm:kstack_reserve",
				kstack_reserve_prepare, kstack_reserve_dead);
	kstack_is_ready = ret >= 0;
	if (!kstack_is_ready)
		pr_err("no reserve (%d), stacks stay fully populated\n", ret);
	return 0;
}
early_initcall(kstack_reserve_init);

/* Behind the APIC, with interrupts off: on the CPU that slept last, and wakes first. */
static void kstack_reserve_resume(void *data)
{
	kstack_refill_surely();
}

static const struct syscore_ops kstack_reserve_syscore_ops = {
	.resume	= kstack_reserve_resume,
};

static struct syscore kstack_reserve_syscore = {
	.ops	= &kstack_reserve_syscore_ops,
};

/* What heals a list before anything can overflow there. Without it the tick does. */
static int __init kstack_reserve_init_late(void)
{
	int ret;

	if (!kstack_is_ready)
		return 0;
	register_syscore(&kstack_reserve_syscore);
	ret = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "mm:kstack_online",
					kstack_reserve_online, NULL);
	return min(ret, 0);
}
late_initcall(kstack_reserve_init_late);

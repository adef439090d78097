// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the overflow fault: whatever happens with SP at any eighth
 * byte above the edge of the mapped stack, nothing is lost and nothing else
 * changes. Included by stack_policy.c.
 */
#include <kunit/test.h>
#include <linux/bug.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/iopoll.h>
#include <linux/irq_work.h>
#include <linux/irqflags.h>
#include <linux/kdebug.h>
#include <linux/kthread.h>
#include <linux/mutex.h>
#include <linux/objtool.h>
#include <linux/smp.h>
#include <linux/sync_core.h>
#include <trace/events/stack_policy.h>

#include <asm/asm.h>
#include <asm/cpu_entry_area.h>
#include <asm/nmi.h>
#include <asm/nospec-branch.h>

#define PAINTED		16		/* words at SP and above */
#define WINDOW_SPAN	512		/* what the entry of an interrupt pushes, and more */
#define CALL_SPAN	1536
#define MIN_FAULTS	6		/* one for each word of an IRET frame, and the call */
#define FOREIGN_SPAN	96		/* what call_deep() uses, at least */
#define MORE_RUNS	20
#define STORM_SWEEPS	1000	/* one will do, unless both CPUs share one of the host */
#define STORM_TRIES	1000000	/* ten seconds for one NMI */
#define REFILL_US	(60 * USEC_PER_SEC)	/* an interrupt and a worker, on a busy host */

static unsigned int sweeps = 1;
module_param(sweeps, uint, 0644);
MODULE_PARM_DESC(sweeps, "How often each KUnit test goes over all offsets");

struct rig;

/* Something that needs stack. */
struct event {
	/* An interrupt: make it pending, here with interrupts off or on another CPU. */
	void		(*raise)(struct rig *rig);
	void		(*raise_remote)(struct rig *rig);
	int		vector;
	/* Or else a function that is called with SP at the edge. */
	void		(*call)(struct rig *rig);
	bool		sleeps;
	/* NMIs all the time meanwhile, from the other CPU. */
	bool		storm;
};

/* One event on one CPU, at one offset after another. */
struct rig {
	const struct event	*event;
	int			cpu, other_cpu;
	unsigned int		offset, span;
	struct completion	done, driven;
	struct irq_work		work;
	struct hrtimer		timer;
	call_single_data_t	there, back;
	struct task_struct	*sleeper;
	unsigned int		raised, handled, resched_before;
	unsigned int		tries, faults, not_raised, lost, damaged;
	int			error;
};

/* The CPUs' interrupts must not wait for each other. */
static DEFINE_MUTEX(remote_lock);
/* Whom the next NMI is for. Under remote_lock. */
static struct rig *nmi_rig;
/*
 * The storm of NMIs, and the CPU that it blows on: only while that opens its window.
 * What else a CPU does is not to be hit: QEMU's TCG before 10 loses the flags of
 * CMPXCHG16B, which SLUB works with, if an NMI comes right after it.
 */
static enum { STORM_OVER, STORM_MAY_SEND, STORM_SENT } storm;
static int storm_cpu;
static unsigned int storm_sent, storm_seen, storm_in_fault;
/* Counted by the probe of the tracepoint. */
static atomic_t raised_again[NR_VECTORS];

static void count_fault(void *data, pid_t pid, const char *comm, u8 class,
			unsigned int from, unsigned int to, unsigned int limit, int vector,
			const struct kstack_frames *frames)
{
	if (vector >= 0)
		atomic_inc(&raised_again[vector]);
}

static void paint(unsigned long sp)
{
	unsigned int i;

	for (i = 0; i < PAINTED; i++)
		WRITE_ONCE(((unsigned long *)sp)[i], sp * 3 + i);
}

static bool still_painted(unsigned long sp)
{
	unsigned int i;

	for (i = 0; i < PAINTED; i++)
		if (READ_ONCE(((unsigned long *)sp)[i]) != sp * 3 + i)
			return false;
	return true;
}

/* What is written to the lowest page is in the page that the page tables name. */
static bool translated_right(unsigned long low)
{
	WRITE_ONCE(*(unsigned long *)low, low ^ jiffies);
	return READ_ONCE(*(unsigned long *)low) ==
	       READ_ONCE(*(unsigned long *)page_address(vmalloc_to_page((void *)low)));
}

/*
 * Let interrupts in for an instant with SP at @sp. Nothing is pushed here, so
 * it is the interrupt that overflows. False if a register is not what it was.
 */
static noinline bool open_window(unsigned long sp)
{
	unsigned long saved, b = sp + 1, c = sp + 2, d = sp + 3, si = sp + 4, di = sp + 5;
	register unsigned long r8 asm("r8") = sp + 8;
	register unsigned long r9 asm("r9") = sp + 9;
	register unsigned long r10 asm("r10") = sp + 10;
	register unsigned long r11 asm("r11") = sp + 11;
	register unsigned long r12 asm("r12") = sp + 12;
	register unsigned long r13 asm("r13") = sp + 13;

	asm volatile("mov %%rsp, %[saved]\n\t"
		     "mov %[sp], %%rsp\n\t"
		     "sti\n\t"
		     "nop\n\t"
		     "nop\n\t"
		     "cli\n\t"
		     "mov %[saved], %%rsp"
		     : [saved] "=&r" (saved), "+b" (b), "+c" (c), "+d" (d), "+S" (si),
		       "+D" (di), "+r" (r8), "+r" (r9), "+r" (r10), "+r" (r11),
		       "+r" (r12), "+r" (r13)
		     : [sp] "r" (sp)
		     : "memory", "cc");
	return b == sp + 1 && c == sp + 2 && d == sp + 3 && si == sp + 4 &&
	       di == sp + 5 && r8 == sp + 8 && r9 == sp + 9 && r10 == sp + 10 &&
	       r11 == sp + 11 && r12 == sp + 12 && r13 == sp + 13;
}
STACK_FRAME_NON_STANDARD(open_window);

static noinline void call_at(unsigned long sp, void (*fn)(struct rig *rig),
			     struct rig *rig)
{
	asm volatile("mov %%rsp, %%rbx\n\t"
		     "mov %[sp], %%rsp\n\t"
		     CALL_NOSPEC
		     "mov %%rbx, %%rsp"
		     : "+D" (rig)
		     : [sp] "S" (sp), THUNK_TARGET(fn)
		     : "rbx", "rax", "rcx", "rdx", "r8", "r9", "r10", "r11",
		       "memory", "cc");
}
STACK_FRAME_NON_STANDARD(call_at);

/* Spin with SP at @sp and nothing pushed until *@count is not @before, or too long. */
static noinline void park(unsigned long sp, const unsigned int *count,
			  unsigned int before)
{
	unsigned long saved, turns = 1UL << 32;

	asm volatile("mov %%rsp, %[saved]\n\t"
		     "mov %[sp], %%rsp\n"
		     "1:\tpause\n\t"
		     "dec %[turns]\n\t"
		     "jz 2f\n\t"
		     "cmpl %[before], (%[count])\n\t"
		     "je 1b\n"
		     "2:\tmov %[saved], %%rsp"
		     : [saved] "=&r" (saved), [turns] "+r" (turns)
		     : [sp] "r" (sp), [count] "r" (count), [before] "r" (before)
		     : "memory", "cc");
}
STACK_FRAME_NON_STANDARD(park);

static bool wait_pending(int vector)
{
	unsigned int tries;

	for (tries = 0; tries < 200000; tries++) {
		if (apic_read(APIC_IRR + vector / 32 * 0x10) & BIT(vector % 32))
			return true;
		udelay(10);
	}
	return false;
}

static bool handled(const struct rig *rig)
{
	/* Nobody is told of this one. */
	if (rig->event->vector == RESCHEDULE_VECTOR)
		return this_cpu_read(irq_stat.irq_resched_count) != rig->resched_before;
	return READ_ONCE(rig->handled) == rig->raised;
}

/*
 * Twenty seconds: with more virtual CPUs than the host has, one of them may have to
 * wait for some. What is lost stays lost.
 */
static bool wait_handled(const struct rig *rig)
{
	unsigned int tries;

	for (tries = 0; tries < 200000 && !handled(rig); tries++) {
		if (rig->event->sleeps)
			usleep_range(50, 100);
		else
			udelay(100);
	}
	return handled(rig);
}

static void remote(void *data)
{
	struct rig *rig = data;

	rig->event->raise_remote(rig);
}

static void raise(struct rig *rig)
{
	rig->raised++;
	rig->resched_before = this_cpu_read(irq_stat.irq_resched_count);
	if (rig->event->raise)
		rig->event->raise(rig);
	else
		smp_call_function_single_async(rig->other_cpu, &rig->there);
}

static void open_window_at(struct rig *rig, unsigned long sp)
{
	raise(rig);
	rig->not_raised += !wait_pending(rig->event->vector);
	trace_hardirqs_on();
	rig->damaged += !open_window(sp);
	trace_hardirqs_off();
}

static void interrupt_at(struct rig *rig, unsigned long sp)
{
	local_irq_disable();
	open_window_at(rig, sp);
	local_irq_enable();
}

/*
 * While the storm blows. No softirqs, which free memory. The other CPU may wait for this
 * one to take an interrupt, so nothing here waits for it but for an NMI that is sent.
 */
static void interrupt_in_storm_at(struct rig *rig, unsigned long sp)
{
	unsigned int tries;

	local_bh_disable();
	local_irq_disable();
	WRITE_ONCE(storm, STORM_MAY_SEND);
	open_window_at(rig, sp);
	for (tries = 0; tries < STORM_TRIES; tries++) {
		if (cmpxchg(&storm, STORM_MAY_SEND, STORM_OVER) == STORM_MAY_SEND)
			break;
		udelay(10);
	}
	local_irq_enable();
	local_bh_enable();
}

static void nmi_at(struct rig *rig, unsigned long sp)
{
	local_irq_disable();
	nmi_rig = rig;
	raise(rig);
	park(sp, &rig->handled, rig->raised - 1);
	nmi_rig = NULL;
	local_irq_enable();
}

static void use_stack_at(struct rig *rig, unsigned long sp)
{
	if (rig->event->call) {
		rig->raised++;
		call_at(sp, rig->event->call, rig);
	} else if (rig->event->vector == NMI_VECTOR) {
		nmi_at(rig, sp);
	} else if (rig->event->storm) {
		interrupt_in_storm_at(rig, sp);
	} else {
		interrupt_at(rig, sp);
	}
}

static void try_at(struct rig *rig, unsigned long sp)
{
	unsigned int before = kstack_faults(current->kstack);
	const struct event *event = rig->event;

	if (event->raise_remote)
		mutex_lock(&remote_lock);
	if (!event->sleeps)
		preempt_disable();
	paint(sp);
	use_stack_at(rig, sp);
	rig->damaged += !still_painted(sp);
	rig->damaged += current->stack_low != kstack_low(current->kstack);
	rig->damaged += !translated_right(current->stack_low);
	rig->lost += !wait_handled(rig);
	if (!event->sleeps)
		preempt_enable();
	if (event->raise_remote)
		mutex_unlock(&remote_lock);
	/* One that was lost is not to be counted with each that follows. */
	rig->handled = rig->raised;
	rig->tries++;
	rig->faults += kstack_faults(current->kstack) - before;
}

/* As many offsets as the stack has edges. */
static int rig_fn(void *data)
{
	const struct kstack *ks = current->kstack;
	struct rig *rig = data;

	while (rig->offset < rig->span && kstack_low(ks) > (unsigned long)ks->base) {
		try_at(rig, kstack_low(ks) + rig->offset);
		rig->offset += 8;
	}
	complete(&rig->done);
	return 0;
}

/* All offsets. Return: 0, or an error of making threads. */
static int sweep(struct rig *rig)
{
	for (rig->offset = 0; rig->offset < rig->span;) {
		struct task_struct *task = kthread_create_on_cpu(rig_fn, rig, rig->cpu,
								 "edge/%u");

		if (IS_ERR(task))
			return PTR_ERR(task);
		init_completion(&rig->done);
		wake_up_process(task);
		wait_for_completion(&rig->done);
	}
	return 0;
}

/* The sources of interrupts. */

static void handled_work(struct irq_work *work)
{
	container_of(work, struct rig, work)->handled++;
}

static void raise_self(struct rig *rig)
{
	irq_work_queue(&rig->work);
}

static enum hrtimer_restart handled_timer(struct hrtimer *timer)
{
	container_of(timer, struct rig, timer)->handled++;
	return HRTIMER_NORESTART;
}

static void raise_timer(struct rig *rig)
{
	hrtimer_start(&rig->timer, ns_to_ktime(1000), HRTIMER_MODE_REL_PINNED_HARD);
}

static void handled_call(void *data)
{
	((struct rig *)data)->handled++;
}

static void raise_call(struct rig *rig)
{
	smp_call_function_single_async(rig->cpu, &rig->back);
}

static void raise_reschedule(struct rig *rig)
{
	__apic_send_IPI(rig->cpu, RESCHEDULE_VECTOR);
}

static void raise_nmi(struct rig *rig)
{
	__apic_send_IPI(rig->cpu, NMI_VECTOR);
}

static bool in_overflow_fault(const struct pt_regs *regs)
{
	unsigned long bottom = (unsigned long)__this_cpu_ist_bottom_va(DF);

	return regs->sp - bottom < EXCEPTION_STKSZ;
}

/* What stack_ensure() and stack_remaining() answer in an NMI, on its own stack. */
static struct asked {
	int cpu, small, more;
	unsigned long remaining;
	bool asked;
} asked = { .cpu = -1 };

static void ask_in_nmi(void)
{
	asked.remaining = stack_remaining();
	asked.small = stack_ensure(256, 0);
	asked.more = stack_ensure(EXCEPTION_STKSZ, 0);
	WRITE_ONCE(asked.asked, true);
}

static int handle_nmi(unsigned int type, struct pt_regs *regs)
{
	int cpu = smp_processor_id();
	struct rig *rig = READ_ONCE(nmi_rig);

	if (cpu == READ_ONCE(asked.cpu) && !asked.asked) {
		ask_in_nmi();
		return NMI_HANDLED;
	}
	if (rig && rig->cpu == cpu && rig->handled != rig->raised) {
		rig->handled++;
		return NMI_HANDLED;
	}
	if (cpu == storm_cpu && READ_ONCE(storm) == STORM_SENT) {
		storm_in_fault += in_overflow_fault(regs);
		WRITE_ONCE(storm_seen, storm_seen + 1);
		WRITE_ONCE(storm, STORM_MAY_SEND);
		return NMI_HANDLED;
	}
	return NMI_DONE;
}

/* What is called at the edge. Each counts what it did. */

static int handle_int3(struct notifier_block *nb, unsigned long event, void *data);
static struct notifier_block int3_notifier = { .notifier_call = handle_int3 };

static noinline void call_int3(struct rig *rig)
{
	asm volatile("int3" : : "D" (rig) : "memory");
}

static int handle_int3(struct notifier_block *nb, unsigned long event, void *data)
{
	struct pt_regs *regs = ((struct die_args *)data)->regs;
	unsigned long size;

	if (event != DIE_INT3 ||
	    !kallsyms_lookup_size_offset((unsigned long)call_int3, &size, NULL) ||
	    regs->ip - (unsigned long)call_int3 >= size)
		return NOTIFY_DONE;
	((struct rig *)regs->di)->handled++;
	return NOTIFY_STOP;
}

/* A WARN_ON_ONCE() that has warned before. */
static void call_warn(struct rig *rig)
{
	__WARN_FLAGS(BUGFLAG_ONCE | BUGFLAG_DONE);
	rig->handled++;
}

static void load_with_fixup(struct rig *rig, unsigned long address)
{
	bool fixed = true;
	char byte;

	asm volatile("1:\tmovb (%[from]), %[byte]\n\t"
		     "movb $0, %[fixed]\n"
		     "2:\n"
		     _ASM_EXTABLE(1b, 2b)
		     : [byte] "=q" (byte), [fixed] "+qm" (fixed)
		     : [from] "r" (address)
		     : "memory");
	rig->handled += fixed;
}

static void call_gp(struct rig *rig)
{
	load_with_fixup(rig, 0x8000000000000000);
}

/* The page below the span: mapped by nobody. */
static void call_pf(struct rig *rig)
{
	load_with_fixup(rig, (unsigned long)current->kstack->base - PAGE_SIZE / 2);
}

static void call_iret(struct rig *rig)
{
	iret_to_self();
	rig->handled++;
}

/* A growth that overflows itself, in each of its steps. */
static void call_ensure(struct rig *rig)
{
	rig->handled += !stack_ensure(PAGE_SIZE / 2, GFP_KERNEL);
}

static enum hrtimer_restart wake_rig(struct hrtimer *timer)
{
	struct rig *rig = container_of(timer, struct rig, timer);

	rig->handled++;
	wake_up_process(rig->sleeper);
	return HRTIMER_NORESTART;
}

/* Off the CPU and back, with the runqueue locked in between. */
static void call_schedule(struct rig *rig)
{
	rig->sleeper = current;
	hrtimer_start(&rig->timer, ns_to_ktime(500 * 1000), HRTIMER_MODE_REL_PINNED_HARD);
	for (;;) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		if (handled(rig))
			break;
		schedule();
	}
	__set_current_state(TASK_RUNNING);
}

/* A thread that counts how often it was woken. */
static int sleeper_fn(void *data)
{
	struct rig *rig = data;

	set_current_state(TASK_UNINTERRUPTIBLE);
	while (!kthread_should_stop()) {
		schedule();
		set_current_state(TASK_UNINTERRUPTIBLE);
		WRITE_ONCE(rig->handled, rig->handled + 1);
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

static void call_wake(struct rig *rig)
{
	wake_up_process(rig->sleeper);
}

static const struct event
	self	= { .raise = raise_self, .vector = IRQ_WORK_VECTOR },
	beaten	= { .raise = raise_self, .vector = IRQ_WORK_VECTOR, .storm = true },
	timer	= { .raise = raise_timer, .vector = LOCAL_TIMER_VECTOR },
	resched	= { .raise_remote = raise_reschedule, .vector = RESCHEDULE_VECTOR },
	call	= { .raise_remote = raise_call, .vector = CALL_FUNCTION_SINGLE_VECTOR },
	nmi	= { .raise_remote = raise_nmi, .vector = NMI_VECTOR },
	int3	= { .call = call_int3 },
	warn	= { .call = call_warn },
	gp	= { .call = call_gp },
	pf	= { .call = call_pf },
	iret	= { .call = call_iret },
	ensure	= { .call = call_ensure },
	sched	= { .call = call_schedule, .sleeps = true },
	wake	= { .call = call_wake, .sleeps = true };

/* One CPU's part: as many sweeps as there have to be. */
static int drive(void *data)
{
	struct rig *rig = data;
	unsigned int i;

	for (i = 0; i < sweeps && !rig->error; i++)
		rig->error = sweep(rig);
	complete(&rig->driven);
	return 0;
}

static void init_rig(struct rig *rig, const struct event *event, int cpu)
{
	rig->event = event;
	rig->cpu = cpu;
	rig->other_cpu = cpumask_any_but(cpu_online_mask, cpu);
	rig->span = event->call ? CALL_SPAN : WINDOW_SPAN;
	init_completion(&rig->driven);
	init_irq_work(&rig->work, handled_work);
	hrtimer_init(&rig->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	rig->timer.function = event == &sched ? wake_rig : handled_timer;
	INIT_CSD(&rig->there, remote, rig);
	INIT_CSD(&rig->back, handled_call, rig);
}

static int start_rig(struct rig *rig)
{
	struct task_struct *task;

	if (rig->event == &wake) {
		rig->sleeper = kthread_create_on_cpu(sleeper_fn, rig, rig->cpu, "woken/%u");
		if (IS_ERR(rig->sleeper))
			return PTR_ERR(rig->sleeper);
		wake_up_process(rig->sleeper);
		wait_task_inactive(rig->sleeper, TASK_UNINTERRUPTIBLE);
	}
	task = kthread_run(drive, rig, "drive/%d", rig->cpu);
	return PTR_ERR_OR_ZERO(task);
}

static void check_rig(struct kunit *test, const struct rig *rig)
{
	KUNIT_EXPECT_EQ_MSG(test, rig->error, 0, "CPU %d", rig->cpu);
	KUNIT_EXPECT_EQ_MSG(test, rig->tries, sweeps * rig->span / 8, "CPU %d", rig->cpu);
	/* Where the host lets the other CPU wait, the interrupt may come late. */
	KUNIT_EXPECT_LE_MSG(test, rig->not_raised, rig->tries / 50, "CPU %d", rig->cpu);
	KUNIT_EXPECT_EQ_MSG(test, rig->lost, 0, "CPU %d", rig->cpu);
	KUNIT_EXPECT_EQ_MSG(test, rig->damaged, 0, "CPU %d", rig->cpu);
	if (rig->event != &nmi)
		KUNIT_EXPECT_GE_MSG(test, rig->faults, sweeps * MIN_FAULTS, "CPU %d",
				    rig->cpu);
	else
		KUNIT_EXPECT_EQ_MSG(test, rig->faults, 0, "CPU %d", rig->cpu);
	kunit_info(test, "CPU %d: %u tries, %u overflows\n", rig->cpu, rig->tries,
		   rig->faults);
}

/* @event on all CPUs at once. */
static void run(struct kunit *test, const struct event *event)
{
	struct rig *rigs = kunit_kcalloc(test, nr_cpu_ids, sizeof(*rigs), GFP_KERNEL);
	int cpu;

	KUNIT_ASSERT_NOT_NULL(test, rigs);
	if (event->raise_remote && num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	cpus_read_lock();
	for_each_online_cpu(cpu) {
		pr_info("stack_policy: overflow allowed in edge/%d\n", cpu);
		init_rig(&rigs[cpu], event, cpu);
		rigs[cpu].error = start_rig(&rigs[cpu]);
	}
	for_each_online_cpu(cpu) {
		if (!rigs[cpu].error)
			wait_for_completion(&rigs[cpu].driven);
		if (!IS_ERR_OR_NULL(rigs[cpu].sleeper) && event == &wake)
			kthread_stop(rigs[cpu].sleeper);
	}
	cpus_read_unlock();
	for_each_online_cpu(cpu)
		check_rig(test, &rigs[cpu]);
}

/*
 * Five words of its frame did not fit, on each CPU. Now and then another
 * interrupt that is more urgent comes first, so go on until it was this one.
 */
static void run_interrupt(struct kunit *test, const struct event *event)
{
	int want = 5 * num_online_cpus(), i;
	atomic_t *raised = &raised_again[event->vector];

	want += atomic_read(raised);
	for (i = 0; i < MORE_RUNS && (!i || atomic_read(raised) < want); i++)
		run(test, event);
	KUNIT_EXPECT_GE(test, atomic_read(raised), want);
}

static void self_interrupt(struct kunit *test)
{
	run_interrupt(test, &self);
}

static void timer_interrupt(struct kunit *test)
{
	run_interrupt(test, &timer);
}

static void reschedule_interrupt(struct kunit *test)
{
	run_interrupt(test, &resched);
}

static void call_function_interrupt(struct kunit *test)
{
	run_interrupt(test, &call);
}

/* It has a stack of its own: nothing overflows. */
static void nmi_at_the_edge(struct kunit *test)
{
	run(test, &nmi);
}

static int storm_fn(void *data)
{
	while (!kthread_should_stop()) {
		/* No interrupt in between: it could wait for the CPU that waits for this. */
		local_irq_disable();
		if (cmpxchg(&storm, STORM_MAY_SEND, STORM_SENT) == STORM_MAY_SEND) {
			storm_sent++;
			__apic_send_IPI(storm_cpu, NMI_VECTOR);
		}
		local_irq_enable();
		cpu_relax();
		cond_resched();
	}
	return 0;
}

/* Until an NMI has hit the fault handler itself. */
static void nmi_in_the_fault(struct kunit *test)
{
	struct rig *rig = kunit_kzalloc(test, sizeof(*rig), GFP_KERNEL);
	int cpu = cpumask_first(cpu_online_mask);
	struct task_struct *task;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, rig);
	init_rig(rig, &beaten, cpu);
	if (rig->other_cpu >= nr_cpu_ids)
		kunit_skip(test, "needs two CPUs");
	pr_info("stack_policy: overflow allowed in edge/%d\n", cpu);
	storm_cpu = cpu;
	task = kthread_create_on_cpu(storm_fn, NULL, rig->other_cpu, "storm/%u");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	wake_up_process(task);
	for (i = 0; i < STORM_SWEEPS && !rig->error && !READ_ONCE(storm_in_fault); i++)
		rig->error = sweep(rig);
	kthread_stop(task);
	kunit_info(test, "%u NMIs, %u of them in the fault, %u sweeps\n", storm_seen,
		   storm_in_fault, i);
	KUNIT_EXPECT_EQ(test, rig->error, 0);
	KUNIT_EXPECT_EQ(test, storm_seen, storm_sent);
	KUNIT_EXPECT_GT(test, storm_in_fault, 0);
	KUNIT_EXPECT_EQ(test, rig->lost, 0);
	KUNIT_EXPECT_EQ(test, rig->damaged, 0);
}

static void breakpoint(struct kunit *test)
{
	run(test, &int3);
}

static void warning(struct kunit *test)
{
	run(test, &warn);
}

static void general_protection(struct kunit *test)
{
	run(test, &gp);
}

static void page_fault(struct kunit *test)
{
	run(test, &pf);
}

static void return_from_interrupt(struct kunit *test)
{
	run(test, &iret);
}

static void growth_in_a_growth(struct kunit *test)
{
	run(test, &ensure);
}

static void switch_under_lock(struct kunit *test)
{
	run(test, &sched);
}

static void wake_up_under_lock(struct kunit *test)
{
	run(test, &wake);
}

/*
 * As in __switch_to_asm(), only for longer: SP is on the stack of one thread,
 * current is another one.
 */
struct two_stacks {
	struct completion	ready, finish;
	struct task_struct	*owner;
	struct rig		rig;
	unsigned int		foreign, own;	/* overflows of which stack */
};

static int owner_fn(void *data)
{
	struct two_stacks *two = data;

	two->owner = current;
	complete(&two->ready);
	wait_for_completion(&two->finish);
	complete(&two->rig.done);
	return 0;
}

/* A frame of its own in each call, and the CPU's with it. */
static noinline void call_deep(struct rig *rig)
{
	volatile unsigned long pattern[8];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pattern); i++)
		pattern[i] = (unsigned long)&pattern[i];
	iret_to_self();
	for (i = 0; i < ARRAY_SIZE(pattern); i++)
		rig->damaged += pattern[i] != (unsigned long)&pattern[i];
}

static void use_foreign_stack(struct two_stacks *two)
{
	const struct kstack *owner = two->owner->kstack;
	unsigned int own = kstack_faults(current->kstack);
	unsigned int foreign = kstack_faults(owner);

	/* Nothing else may look at where SP is. */
	local_irq_disable();
	call_at(kstack_low(two->owner->kstack) + two->rig.offset, call_deep, &two->rig);
	local_irq_enable();
	two->own += kstack_faults(current->kstack) - own;
	two->foreign += kstack_faults(owner) - foreign;
}

static void foreign_stack(struct kunit *test)
{
	struct two_stacks *two = kunit_kzalloc(test, sizeof(*two), GFP_KERNEL);
	const struct kstack *ks;

	KUNIT_ASSERT_NOT_NULL(test, two);
	pr_info("stack_policy: overflow allowed in foreign\n");
	while (two->rig.offset < FOREIGN_SPAN) {
		init_completion(&two->ready);
		init_completion(&two->finish);
		init_completion(&two->rig.done);
		KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(owner_fn, two, "foreign")));
		wait_for_completion(&two->ready);
		wait_task_inactive(two->owner, TASK_UNINTERRUPTIBLE);
		ks = two->owner->kstack;
		while (two->rig.offset < FOREIGN_SPAN && kstack_low(ks) > (unsigned long)ks->base) {
			use_foreign_stack(two);
			two->rig.offset += 8;
		}
		complete(&two->finish);
		wait_for_completion(&two->rig.done);
	}
	KUNIT_EXPECT_EQ(test, two->rig.damaged, 0);
	KUNIT_EXPECT_EQ(test, two->own, 0);
	KUNIT_EXPECT_EQ(test, two->foreign, FOREIGN_SPAN / 8);
}

/* A push five pages below what @ks has, if it has three. */
static noinline void push_below(const struct kstack *ks)
{
	unsigned long saved;

	asm volatile("mov %%rsp, %[saved]\n\t"
		     "mov %[sp], %%rsp\n\t"
		     "pushq $0\n\t"
		     "mov %[saved], %%rsp"
		     : [saved] "=&r" (saved)
		     : [sp] "r" ((unsigned long)ks->base + PAGE_SIZE)
		     : "memory", "cc");
}
STACK_FRAME_NON_STANDARD(push_below);

struct worst_case {
	struct two_stacks	two;
	unsigned int		left, taken;
};

static int worst_case_fn(void *data)
{
	struct worst_case *worst = data;
	const struct kstack *own = current->kstack, *foreign = worst->two.owner->kstack;
	unsigned int before;

	read_poll_timeout(kstack_reserve_count, before, before == KSTACK_RESERVE, 20000,
			  REFILL_US, true, raw_smp_processor_id());
	local_irq_disable();
	before = kstack_reserve_count(smp_processor_id());
	worst->taken = (kstack_low(own) - (unsigned long)own->base +
			kstack_low(foreign) - (unsigned long)foreign->base) / PAGE_SIZE;
	push_below(own);
	push_below(foreign);
	worst->left = kstack_reserve_count(smp_processor_id());
	local_irq_enable();
	worst->taken = before == KSTACK_RESERVE ? worst->taken : 0;
	complete(&worst->two.finish);
	return 0;
}

/* Two stacks that take all they may before interrupts are on: so much is left. */
static void two_stacks_grow_fully(struct kunit *test)
{
	struct worst_case *worst = kunit_kzalloc(test, sizeof(*worst), GFP_KERNEL);
	struct two_stacks *two = &worst->two;

	KUNIT_ASSERT_NOT_NULL(test, worst);
	pr_info("stack_policy: overflow allowed in foreign\n");
	pr_info("stack_policy: overflow allowed in worst\n");
	init_completion(&two->ready);
	init_completion(&two->finish);
	init_completion(&two->rig.done);
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(owner_fn, two, "foreign")));
	wait_for_completion(&two->ready);
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(worst_case_fn, worst, "worst")));
	wait_for_completion(&two->rig.done);
	/* Ten pages, as each had three. */
	KUNIT_EXPECT_EQ(test, worst->taken, 10);
	KUNIT_EXPECT_EQ(test, worst->left, KSTACK_RESERVE - 10);
}

/*
 * That stack lies above all threads' stacks, and has less than they: what is below the
 * thread's says nothing about it.
 */
static void ensure_in_an_nmi(struct kunit *test)
{
	bool done;

	asked.asked = false;
	WRITE_ONCE(asked.cpu, get_cpu());
	__apic_send_IPI(asked.cpu, NMI_VECTOR);
	put_cpu();
	read_poll_timeout(READ_ONCE, done, done, 20000, REFILL_US, false, asked.asked);
	WRITE_ONCE(asked.cpu, -1);
	KUNIT_ASSERT_TRUE(test, done);
	KUNIT_EXPECT_GT(test, asked.remaining, 256);
	KUNIT_EXPECT_LT(test, asked.remaining, EXCEPTION_STKSZ);
	KUNIT_EXPECT_EQ(test, asked.small, 0);
	KUNIT_EXPECT_EQ(test, asked.more, -EOVERFLOW);
}

/* After all that: every reserve is full, and none was ever below its floor. */
static void reserve_is_full_again(struct kunit *test)
{
	struct kstack_reserve_stats stats;
	unsigned int nr;
	int cpu;

	for_each_online_cpu(cpu) {
		read_poll_timeout(kstack_reserve_count, nr, nr == KSTACK_RESERVE, 20000,
				  REFILL_US, false, cpu);
		kstack_reserve_read(cpu, &stats);
		kunit_info(test, "CPU %d: %lu pages taken, at least %u left\n", cpu,
			   stats.taken, stats.low_water);
		KUNIT_EXPECT_EQ(test, nr, KSTACK_RESERVE);
		KUNIT_EXPECT_GT(test, stats.taken, 0);
		KUNIT_EXPECT_LT(test, stats.low_water, KSTACK_RESERVE);
		KUNIT_EXPECT_GE(test, stats.low_water, KSTACK_RESERVE_FLOOR);
	}
}

static int stack_policy_x86_init(struct kunit_suite *suite)
{
	register_trace_stack_fault(count_fault, NULL);
	register_die_notifier(&int3_notifier);
	return register_nmi_handler(NMI_LOCAL, handle_nmi, 0, "stack_policy");
}

static void stack_policy_x86_exit(struct kunit_suite *suite)
{
	unregister_nmi_handler(NMI_LOCAL, "stack_policy");
	unregister_die_notifier(&int3_notifier);
	unregister_trace_stack_fault(count_fault, NULL);
	tracepoint_synchronize_unregister();
}

static struct kunit_case stack_policy_x86_cases[] = {
	KUNIT_CASE_SLOW(self_interrupt),
	KUNIT_CASE_SLOW(timer_interrupt),
	KUNIT_CASE_SLOW(reschedule_interrupt),
	KUNIT_CASE_SLOW(call_function_interrupt),
	KUNIT_CASE_SLOW(nmi_at_the_edge),
	KUNIT_CASE_SLOW(nmi_in_the_fault),
	KUNIT_CASE_SLOW(breakpoint),
	KUNIT_CASE_SLOW(warning),
	KUNIT_CASE_SLOW(general_protection),
	KUNIT_CASE_SLOW(page_fault),
	KUNIT_CASE_SLOW(return_from_interrupt),
	KUNIT_CASE_SLOW(growth_in_a_growth),
	KUNIT_CASE_SLOW(switch_under_lock),
	KUNIT_CASE_SLOW(wake_up_under_lock),
	KUNIT_CASE_SLOW(foreign_stack),
	KUNIT_CASE_SLOW(two_stacks_grow_fully),
	KUNIT_CASE(ensure_in_an_nmi),
	KUNIT_CASE_SLOW(reserve_is_full_again),
	{}
};

static struct kunit_suite stack_policy_x86_suite = {
	.name = "stack_policy_x86",
	.suite_init = stack_policy_x86_init,
	.suite_exit = stack_policy_x86_exit,
	.test_cases = stack_policy_x86_cases,
};
kunit_test_suite(stack_policy_x86_suite);

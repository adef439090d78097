// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit test: an interrupt whose frame does not fit on the stack is not lost.
 * Included by stack_policy.c.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/irqflags.h>
#include <linux/kthread.h>
#include <linux/objtool.h>

#define ROUNDS 20

struct edge {
	struct completion done;
	unsigned int faults;	/* rounds in which the stack overflowed */
	unsigned int lost;	/* rounds after which the timer was dead */
};

/*
 * Put SP on the lowest mapped word and wait there with interrupts on. Nothing
 * is pushed by this code, so the next interrupt is what overflows.
 */
static noinline void spin_at(unsigned long sp, const unsigned int *faults,
			     unsigned int before)
{
	unsigned long saved;

	asm volatile("mov %%rsp, %[saved]\n\t"
		     "mov %[sp], %%rsp\n"
		     "1:\tpause\n\t"
		     "cmpl %[before], (%[faults])\n\t"
		     "je 1b\n\t"
		     "mov %[saved], %%rsp"
		     : [saved] "=&r" (saved)
		     : [sp] "r" (sp), [faults] "r" (faults), [before] "r" (before)
		     : "memory", "cc");
}
STACK_FRAME_NON_STANDARD(spin_at);

static int edge_fn(void *data)
{
	const unsigned int *faults = &current->kstack->grows[KSTACK_FAULT];
	unsigned int before = *faults, ticks;
	struct edge *edge = data;
	unsigned int i;

	spin_at(current->stack_low, faults, before);
	edge->faults += *faults != before;

	/* The timer of this CPU has to go on; nobody else can tell. */
	preempt_disable();
	ticks = this_cpu_read(irq_stat.apic_timer_irqs);
	/* Two seconds: the host may be busy. A dead timer stays dead. */
	for (i = 0; i < 40 && this_cpu_read(irq_stat.apic_timer_irqs) == ticks; i++)
		mdelay(50);
	edge->lost += this_cpu_read(irq_stat.apic_timer_irqs) == ticks;
	preempt_enable();
	complete(&edge->done);
	return 0;
}

static void timer_interrupt_survives(struct kunit *test)
{
	struct edge edge = {};
	unsigned int i;

	pr_info("stack_policy: overflow expected in edge\n");
	for (i = 0; i < ROUNDS && !edge.lost; i++) {
		init_completion(&edge.done);
		KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(edge_fn, &edge, "edge")));
		wait_for_completion(&edge.done);
	}
	KUNIT_EXPECT_EQ(test, edge.faults, ROUNDS);
	KUNIT_EXPECT_EQ(test, edge.lost, 0);
}

static struct kunit_case stack_policy_x86_cases[] = {
	KUNIT_CASE(timer_interrupt_survives),
	{}
};

static struct kunit_suite stack_policy_x86_suite = {
	.name = "stack_policy_x86",
	.test_cases = stack_policy_x86_cases,
};
kunit_test_suite(stack_policy_x86_suite);

// SPDX-License-Identifier: GPL-2.0
/*
 * The overflow fault of a kernel stack on x86-64: is it ours, whose stack is
 * it, and which interrupt was lost on the way. Knows no policy.
 */
#include <linux/hardirq.h>
#include <linux/kprobes.h>
#include <linux/kstack.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/stack_policy.h>
#include <linux/vmalloc.h>

#include <asm/apic.h>
#include <asm/ptrace.h>

/*
 * From the stack pointer, never from current: in __switch_to_asm() they
 * disagree. The top page of a stack is always mapped.
 */
static struct kstack *owner_of(unsigned long sp)
{
	unsigned long base = sp & ~(THREAD_SIZE - 1);
	unsigned int level;
	pte_t *ptep;

	if (!is_vmalloc_addr((void *)sp))
		return NULL;
	ptep = lookup_address(base + THREAD_SIZE - PAGE_SIZE, &level);
	if (!ptep || level != PG_LEVEL_4K || !pte_present(*ptep))
		return NULL;
	if (!pfn_valid(pte_pfn(*ptep)))
		return NULL;
	return kstack_of_top_page(pte_page(*ptep), base);
}
NOKPROBE_SYMBOL(owner_of);

/* The highest vector that the local APIC believes is being handled, or -1. */
static int vector_in_service(void)
{
	int reg;

	for (reg = 7; reg >= 0; reg--) {
		u32 isr = apic_read(APIC_ISR + reg * 0x10);

		if (isr)
			return reg * 32 + __fls(isr);
	}
	return -1;
}
NOKPROBE_SYMBOL(vector_in_service);

/*
 * With interrupts on and outside a handler, a vector in service means that the
 * CPU accepted an interrupt, could not push its frame, and faulted: the handler
 * never ran, and nobody would ever end the interrupt. End it and send it again.
 */
static void raise_lost_interrupt(struct pt_regs *regs)
{
	/* A #DF enters as an NMI does, which counts as one handler itself. */
	unsigned long ours = in_nmi() ? HARDIRQ_OFFSET : 0;
	int vector;

	if (!(regs->flags & X86_EFLAGS_IF) || hardirq_count() > ours ||
	    !boot_cpu_has(X86_FEATURE_APIC))
		return;
	vector = vector_in_service();
	if (vector < 0)
		return;
	apic_eoi();
	__apic_send_IPI_self(vector);
}
NOKPROBE_SYMBOL(raise_lost_interrupt);

/**
 * stack_policy_fault - grow a stack that ran out of memory
 * @regs: where it happened
 * @address: CR2, which is the second of the two faults if this is a #DF
 *
 * Context: #DF on its own stack, or the kernel's #PF. Takes no lock, allocates
 * nothing, prints nothing.
 * Return: true if there is memory at @address now and the CPU may go on.
 */
bool stack_policy_fault(struct pt_regs *regs, unsigned long address)
{
	unsigned long sp = regs->sp, low;
	struct kstack *ks;

	if (user_mode(regs) || !stack_policy_may_survive())
		return false;
	/* A push at the bottom edge of a page belongs to the page below. */
	ks = owner_of(sp);
	if (!ks || ((address ^ sp) & ~(THREAD_SIZE - 1)))
		return false;
	low = kstack_low(ks);
	if (address >= low)
		return false;
	if (kstack_grow(ks, address & PAGE_MASK, 0, KSTACK_FAULT))
		return false;
	raise_lost_interrupt(regs);
	stack_policy_record_fault(ks, regs, low, kstack_low(ks));
	return true;
}
NOKPROBE_SYMBOL(stack_policy_fault);

#if IS_ENABLED(CONFIG_STACK_POLICY_KUNIT_TEST)
#include "stack_policy_test.c"
#endif

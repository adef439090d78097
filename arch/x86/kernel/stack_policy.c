// SPDX-License-Identifier: GPL-2.0
/*
 * The overflow fault of a kernel stack on x86-64: is it ours, whose stack is
 * it, and which interrupt was lost on the way. Knows no policy.
 */
#include <linux/cc_platform.h>
#include <linux/hardirq.h>
#include <linux/kprobes.h>
#include <linux/kstack.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/stack_policy.h>
#include <linux/vmalloc.h>

#include <asm/apic.h>
#include <asm/hypervisor.h>
#include <asm/io_apic.h>
#include <asm/mshyperv.h>
#include <asm/ptrace.h>
#include <asm/stacktrace.h>
#include <asm/trap_pf.h>
#include <asm/unwind.h>
#include <xen/xen.h>

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

/* Hyper-V does where it does not say that this is deprecated; see drivers/hv/hv.c. */
static bool __init hv_ends_interrupts(void)
{
#if IS_ENABLED(CONFIG_HYPERV)
	return hypervisor_is_type(X86_HYPER_MS_HYPERV) &&
	       !(ms_hyperv.hints & HV_DEPRECATING_AEOI_RECOMMENDED);
#else
	return false;
#endif
}

/*
 * With interrupts on and outside a handler, a vector in service means that the
 * CPU accepted an interrupt, could not push its frame, and faulted: the handler
 * never ran, and nobody would ever end the interrupt.
 *
 * Return: the vector, or -1 if none was lost.
 */
static int lost_interrupt(struct pt_regs *regs)
{
	/* A #DF enters as an NMI does, which counts as one handler itself. */
	unsigned long ours = in_nmi() ? HARDIRQ_OFFSET : 0;

	if (!(regs->flags & X86_EFLAGS_IF) || hardirq_count() > ours ||
	    !boot_cpu_has(X86_FEATURE_APIC))
		return -1;
	return vector_in_service();
}
NOKPROBE_SYMBOL(lost_interrupt);

/*
 * End it and send it again. A level-triggered one comes again by itself when it
 * is ended, and as it finds our edge in its place, ioapic_ack_level() tells the
 * IO-APIC.
 */
static void raise_again(int vector)
{
	apic_eoi();
	__apic_send_IPI_self(vector);
}
NOKPROBE_SYMBOL(raise_again);

/* The stack that SP is on, if @address is in the same span. */
static struct kstack *stack_at(struct pt_regs *regs, unsigned long address)
{
	if (user_mode(regs) || ((address ^ regs->sp) & ~(THREAD_SIZE - 1)))
		return NULL;
	return owner_of(regs->sp);
}
NOKPROBE_SYMBOL(stack_at);

/*
 * A function's part of the stack ends with the address that it returns to. Above that of
 * the outermost one are the registers of user mode, so where the unwinder ends below
 * those it has lost its way, whatever it says: after a BPF program it always says so.
 * It refuses a thread that is being switched to; then nothing but @regs is known.
 */
void arch_stack_policy_walk(struct task_struct *task, struct pt_regs *regs,
			    kstack_add_frame_fn add, struct kstack_frames *frames)
{
	unsigned long user_regs = (unsigned long)task_pt_regs(task);
	unsigned long from = regs->sp, ip = regs->ip;
	struct unwind_state state;

	for (unwind_start(&state, task, regs, NULL); !unwind_done(&state);
	     unwind_next_frame(&state)) {
		unsigned long at = (unsigned long)unwind_get_return_address_ptr(&state);
		unsigned long caller = unwind_get_return_address(&state);

		if (!caller || at < from || at >= user_regs)
			break;
		at += sizeof(caller);
		add(frames, ip, at - from);
		from = at;
		ip = caller;
	}
	add(frames, ip, 0);
	if (from < user_regs)
		add(frames, KSTACK_NOT_UNWOUND, user_regs - from);
	add(frames, KSTACK_USER_REGS,
	    (unsigned long)task_stack_page(task) + THREAD_SIZE - user_regs);
}
NOKPROBE_SYMBOL(arch_stack_policy_walk);

/**
 * stack_policy_fault - grow a stack that ran out of memory
 * @regs: where it happened
 * @address: CR2: where the frame of the first fault was to be pushed
 *
 * Whatever faulted first, SP was below the mapped pages or about to be, so
 * there is memory for it now as well.
 *
 * Context: #DF on its own stack. Takes no lock, allocates nothing, prints
 * nothing unless the machine is about to die of it.
 * Return: true if there is memory at @address now and the CPU may go on.
 */
bool stack_policy_fault(struct pt_regs *regs, unsigned long address)
{
	struct kstack *ks = stack_at(regs, address);
	int vector;

	if (!ks || address >= kstack_low(ks))
		return false;
	vector = lost_interrupt(regs);
	if (!stack_policy_overflow(ks, regs, address, vector))
		return false;
	if (vector >= 0)
		raise_again(vector);
	return true;
}
NOKPROBE_SYMBOL(stack_policy_fault);

/**
 * stack_policy_page_fault - is this a page fault whose entry overflowed?
 * @regs: where it happened
 * @error_code: of the fault that was taken first
 * @address: CR2, which is that of the overflow if there was one
 *
 * A page fault on a mapped stack page says something about another address,
 * except where the kernel tried to execute it. Whatever it is about, it faults
 * again.
 *
 * Does not grow: without a red zone the kernel only touches what is above SP,
 * and where SP has no memory the frame of the fault has none either. Who reads
 * below, with a fixup, gets his error.
 *
 * Context: #PF.
 * Return: true to have the access fault again, with its own address.
 */
bool stack_policy_page_fault(struct pt_regs *regs, unsigned long error_code,
			     unsigned long address)
{
	struct kstack *ks;

	if (error_code & (X86_PF_INSTR | X86_PF_RSVD))
		return false;
	ks = stack_at(regs, address);
	return ks && address >= kstack_low(ks);
}
NOKPROBE_SYMBOL(stack_policy_page_fault);

/**
 * arch_stack_policy_cannot_grow - must stacks be full from the start here?
 *
 * Context: early boot.
 * Return: the reason, or NULL if a fault can grow a stack.
 */
const char * __init arch_stack_policy_cannot_grow(void)
{
	if (xen_pv_domain())
		return "a Xen PV guest has no double fault to return from";
	if (cc_platform_has(CC_ATTR_GUEST_STATE_ENCRYPT))
		return "the #VC handler of a SEV-ES guest writes to a stack it does not run on";
	/* With its information block in use, the next #VE is fatal. */
	if (cpu_feature_enabled(X86_FEATURE_TDX_GUEST))
		return "the #VE of a TDX guest cannot be taken again";
	/* What cannot be found in service in the local APIC could be lost. */
	if (!boot_cpu_has(X86_FEATURE_APIC) || ioapic_is_disabled)
		return "interrupts do not come through the APIC";
	if (hv_ends_interrupts())
		return "the hypervisor ends interrupts by itself (auto-EOI)";
	return NULL;
}

/* Slow path of stack_remaining(): on whatever stack; 0 if that is not known. */
unsigned long stack_policy_remaining(void)
{
	unsigned long sp = current_stack_pointer, seen = 0;
	struct stack_info info;

	if (get_stack_info((unsigned long *)sp, current, &info, &seen))
		return 0;
	return sp - (unsigned long)info.begin;
}
EXPORT_SYMBOL_GPL(stack_policy_remaining);

/* Of a stack that is full from boot, and zero where nothing was pushed yet. */
unsigned long arch_stack_policy_irq_used(unsigned int cpu)
{
	/* See map_irq_stack(). */
	void *last = per_cpu(pcpu_hot.hardirq_stack_ptr, cpu), *top, *used;

	/* What a thread has that runs an interrupt's work by itself. */
	BUILD_BUG_ON(IRQ_STACK_SIZE != THREAD_SIZE);
	if (!last)
		return 0;
	top = last + 8;
	used = memchr_inv(top - IRQ_STACK_SIZE, 0, IRQ_STACK_SIZE);
	return used ? top - used : 0;
}

#if IS_ENABLED(CONFIG_STACK_POLICY_KUNIT_TEST)
#include "stack_policy_test.c"
#endif

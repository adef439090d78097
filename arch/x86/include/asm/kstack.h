/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What stack memory (mm/kstack.c) has to know of x86: what a stack's PTE says
 * of its page, where a thread that does not run has its stack pointer, and how
 * this CPU alone forgets a translation.
 */
#ifndef _ASM_X86_KSTACK_H
#define _ASM_X86_KSTACK_H

#include <linux/pgtable.h>
#include <linux/sched.h>
#include <asm/tlbflush.h>

/*
 * In a PTE that is not present. pfn_pte() inverts the page frame number of such
 * a PTE, for L1TF; pte_page() knows that. Bits that mean nothing to the check for
 * pages that are writable and executable.
 */
#define _KSTACK_RETAINED	_PAGE_SOFTW1	/* unmapped, and still the stack's */
#define _KSTACK_ASKED		_PAGE_SOFTW2	/* a flush of all TLBs comes or came */
#define _KSTACK_WRITTEN		_PAGE_SOFTW3	/* was dirty */

/*
 * Of a page of zeros. The CPU sets the dirty bit before it writes there first.
 * Nobody clears that bit while the page is mapped: TLBs remember that it is set.
 */
static inline pte_t arch_kstack_mk_zeroed(struct page *page)
{
	return pte_mkclean(mk_pte(page, PAGE_KERNEL));
}

/* False: still zeros. Of a PTE that is present or retained. */
static inline bool arch_kstack_pte_written(pte_t pte)
{
	return pte_present(pte) ? pte_dirty(pte) : pte.pte & _KSTACK_WRITTEN;
}

static inline pte_t arch_kstack_mk_retained(pte_t pte, bool asked)
{
	pteval_t bits = _KSTACK_RETAINED | (asked ? _KSTACK_ASKED : 0) |
			(arch_kstack_pte_written(pte) ? _KSTACK_WRITTEN : 0);

	return pfn_pte(pte_pfn(pte), __pgprot(bits));
}

/* As it was: by a translation from before it can be written only if it was then. */
static inline pte_t arch_kstack_mk_present(pte_t pte)
{
	return arch_kstack_pte_written(pte) ? mk_pte(pte_page(pte), PAGE_KERNEL) :
					      arch_kstack_mk_zeroed(pte_page(pte));
}

static inline bool arch_kstack_pte_retained(pte_t pte)
{
	return !pte_present(pte) && (pte.pte & _KSTACK_RETAINED);
}

static inline bool arch_kstack_pte_asked(pte_t pte)
{
	return arch_kstack_pte_retained(pte) && (pte.pte & _KSTACK_ASKED);
}

/* As it was when @tsk was switched out last. */
static inline unsigned long arch_kstack_saved_sp(const struct task_struct *tsk)
{
	return READ_ONCE(tsk->thread.sp);
}

/* All PCIDs of this CPU. Preemption is off. */
static inline void arch_kstack_flush_here(unsigned long addr)
{
	flush_tlb_one_kernel(addr);
}

#endif /* _ASM_X86_KSTACK_H */

// SPDX-License-Identifier: GPL-2.0
/*
 * Stacks in a crash dump: on the way into the crash kernel, map something into
 * the holes of all of them. crash(8) reads a stack's whole span at once, and
 * gives up at an address that is not mapped.
 *
 * This kernel is broken by then. Nothing here allocates, waits, takes a lock, or
 * follows a pointer unchecked. Stacks are found in the page tables, as a list of
 * threads may be what is broken. Knows no classes.
 */
#define pr_fmt(fmt) "kstack: " fmt

#include <linux/cpumask.h>
#include <linux/crash_core.h>
#include <linux/kexec.h>
#include <linux/kstack.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/sched/task_stack.h>
#include <linux/stack_policy.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "kstack.h"

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "kstack_dump."

/*
 * The walk ends after so long, in case page tables lead in circles, and at so many
 * of them, in case the clock stands still: 512 GB of mappings.
 */
#define MAX_NS		(2ULL * NSEC_PER_SEC)
#define MAX_TABLES	(256 * 1024)

/* What may still happen on a stack. */
enum kstack_use {
	KSTACK_DEAD,		/* nothing: its CPU has stopped */
	KSTACK_IN_USE,		/* a CPU runs on it */
	KSTACK_MAY_BE_USED,	/* a CPU that did not stop may switch to it */
};

/* All below: of the one CPU that walks. "p kstack_dump" in crash prints it. */
static struct {
	struct cpumask	running;	/* CPUs that did not stop, but for this one */
	u64		deadline;	/* of local_clock() */
	unsigned int	tables;		/* page tables that may still be looked at */
	bool		late;		/* there were more */
	unsigned int	stacks;		/* that were found */
	unsigned int	zeroes;		/* pages of zeroes mapped */
	unsigned int	retained;	/* retained pages mapped */
	unsigned int	pages;		/* pages mapped into stacks in use */
	unsigned int	left;		/* stacks with holes left */
} kstack_dump;

/* Into the buffer, where the dump has it, and not to a console, which may hang. */
#define log_later(level, fmt, ...)	printk_deferred(level pr_fmt(fmt), ##__VA_ARGS__)

static bool enabled = true;
module_param(enabled, bool, 0644);
MODULE_PARM_DESC(enabled, "map zeroes into the holes of stacks before a crash dump");

/*
 * As kstack_of_top_page(), for memory that need not be what it should be. NULL
 * if @top is not the PTE of the top page of a stack at @base.
 */
static struct kstack *kstack_dump_owner(pte_t top, unsigned long base)
{
	unsigned long index, private;
	const struct page *page;
	struct kstack *ks;
	void *ks_base;

	/* Of device memory there is no struct page. */
	if (!pte_present(top) || !pfn_valid(pte_pfn(top)))
		return NULL;
	page = pte_page(top);
	if (get_kernel_nofault(index, &page->index) || index != base ||
	    get_kernel_nofault(private, &page->private))
		return NULL;
	ks = (struct kstack *)private;
	if (get_kernel_nofault(ks_base, &ks->base) || ks_base != (void *)base)
		return NULL;
	return ks;
}

static enum kstack_use kstack_dump_use(const struct kstack *ks, unsigned long base)
{
	struct task_struct *task;
	void *stack;

	if (base == (current_stack_pointer & ~(THREAD_SIZE - 1)))
		return KSTACK_IN_USE;
	if (cpumask_empty(&kstack_dump.running))
		return KSTACK_DEAD;
	if (get_kernel_nofault(task, &ks->task))
		return KSTACK_MAY_BE_USED;
	if (!task)
		return KSTACK_DEAD;
	/* Now it is known to be there, and whose it is. */
	if (get_kernel_nofault(stack, &task->stack) || stack != (void *)base ||
	    task_cpu(task) >= nr_cpu_ids)
		return KSTACK_MAY_BE_USED;
	if (!cpumask_test_cpu(task_cpu(task), &kstack_dump.running))
		return KSTACK_DEAD;
	return task_curr(task) ? KSTACK_IN_USE : KSTACK_MAY_BE_USED;
}

/*
 * From the top down, so that what is mapped stays one run even where pages run
 * out. A retained page goes back to its slot: some CPU's TLB may still lead there.
 * By cmpxchg, as a CPU that did not stop may grow this stack.
 */
static void kstack_dump_fill(pte_t *ptep, enum kstack_use use)
{
	int slot;

	for (slot = KSTACK_PAGES - 1; slot >= 0; slot--) {
		pte_t old = READ_ONCE(ptep[slot]), new;
		unsigned int *count;
		struct page *page;

		if (pte_present(old))
			continue;
		if (arch_kstack_pte_retained(old)) {
			new = mk_pte(pte_page(old), PAGE_KERNEL);
			count = &kstack_dump.retained;
		} else if (use == KSTACK_DEAD) {
			/* Read-only: a write, which nobody does, must not end up there. */
			new = mk_pte(ZERO_PAGE(0), PAGE_KERNEL_RO);
			count = &kstack_dump.zeroes;
		} else {
			page = use == KSTACK_IN_USE ? kstack_reserve_take_last() : NULL;
			if (!page) {
				kstack_dump.left++;
				return;
			}
			new = mk_pte(page, PAGE_KERNEL);
			count = &kstack_dump.pages;
		}
		if (try_cmpxchg(&ptep[slot].pte, &old.pte, new.pte))
			(*count)++;
	}
}

static void kstack_dump_visit(pte_t *ptep, struct kstack *ks, unsigned long base)
{
	kstack_dump.stacks++;
	kstack_dump_fill(ptep, kstack_dump_use(ks, base));
}

typedef void (*kstack_dump_fn)(pte_t *ptep, struct kstack *ks, unsigned long base);

static void kstack_dump_ptes(pmd_t pmd, unsigned long addr, kstack_dump_fn fn)
{
	unsigned long end = addr + PMD_SIZE;
	pte_t *ptep = pte_offset_kernel(&pmd, addr);

	if (!kstack_dump.tables || local_clock() > kstack_dump.deadline) {
		kstack_dump.late = true;
		return;
	}
	kstack_dump.tables--;
	for (; addr < end; addr += THREAD_SIZE, ptep += KSTACK_PAGES) {
		struct kstack *ks;
		pte_t top;

		if (get_kernel_nofault(top.pte, &ptep[KSTACK_PAGES - 1].pte))
			return;
		ks = kstack_dump_owner(top, addr);
		if (ks)
			fn(ptep, ks, addr);
	}
}

static void kstack_dump_pmds(pud_t pud, unsigned long addr, kstack_dump_fn fn)
{
	unsigned long end = addr + PUD_SIZE;
	pmd_t *pmdp = pmd_offset(&pud, addr), pmd;

	for (; addr < end && !kstack_dump.late; addr += PMD_SIZE, pmdp++) {
		if (get_kernel_nofault(pmd.pmd, &pmdp->pmd))
			return;
		if (!pmd_none(pmd) && !pmd_bad(pmd) && pfn_valid(pmd_pfn(pmd)))
			kstack_dump_ptes(pmd, addr, fn);
	}
}

static void kstack_dump_puds(p4d_t p4d, unsigned long addr, kstack_dump_fn fn)
{
	unsigned long end = addr + P4D_SIZE;
	pud_t *pudp = pud_offset(&p4d, addr), pud;

	for (; addr < end && !kstack_dump.late; addr += PUD_SIZE, pudp++) {
		if (get_kernel_nofault(pud.pud, &pudp->pud))
			return;
		if (!pud_none(pud) && !pud_bad(pud) && pfn_valid(pud_pfn(pud)))
			kstack_dump_pmds(pud, addr, fn);
	}
}

/*
 * Call @fn for each stack. The kernel runs by its top levels: these two are read as
 * they are.
 */
static void kstack_dump_walk(kstack_dump_fn fn, u64 max_ns, unsigned int max_tables)
{
	unsigned long addr = VMALLOC_START & P4D_MASK;

	kstack_dump.deadline = local_clock() + max_ns;
	kstack_dump.tables = max_tables;
	kstack_dump.late = false;
	for (; addr < VMALLOC_END && !kstack_dump.late; addr += P4D_SIZE) {
		pgd_t pgd = READ_ONCE(*pgd_offset_k(addr));
		p4d_t p4d;

		if (pgd_none(pgd))
			continue;
		p4d = READ_ONCE(*p4d_offset(&pgd, addr));
		if (!p4d_none(p4d) && !p4d_bad(p4d) && pfn_valid(p4d_pfn(p4d)))
			kstack_dump_puds(p4d, addr, fn);
	}
}

/*
 * A CPU that the shootdown has reached is in its handler for good, and its registers
 * are in its note. The shootdown waits for a second at most.
 */
static void kstack_dump_find_running(void)
{
	unsigned int cpu;

	cpumask_clear(&kstack_dump.running);
	for_each_online_cpu(cpu) {
		const u32 *note = crash_notes ? per_cpu_ptr(crash_notes, cpu)[0] : NULL;

		if (cpu != raw_smp_processor_id() && !(note && READ_ONCE(*note)))
			cpumask_set_cpu(cpu, &kstack_dump.running);
	}
}

/* Interrupts are off, and the other CPUs have been told to stop. */
void stack_policy_crash(void)
{
	u64 start = local_clock();

	if (!READ_ONCE(enabled))
		return;
	kstack_dump_find_running();
	kstack_dump_walk(kstack_dump_visit, MAX_NS, MAX_TABLES);
	log_later(KERN_INFO, "%u stacks whole: %u pages of zeroes, %u retained, %u new; %llu us\n",
		  kstack_dump.stacks - kstack_dump.left, kstack_dump.zeroes, kstack_dump.retained,
		  kstack_dump.pages, (local_clock() - start) / NSEC_PER_USEC);
	if (kstack_dump.left)
		log_later(KERN_WARNING, "%u stacks keep holes: in use, or CPUs %*pbl still run\n",
			  kstack_dump.left, cpumask_pr_args(&kstack_dump.running));
	if (kstack_dump.late)
		log_later(KERN_WARNING, "other stacks keep holes: out of time\n");
}

#if IS_ENABLED(CONFIG_STACK_POLICY_KUNIT_TEST)
#include "kstack_dump_test.c"
#endif

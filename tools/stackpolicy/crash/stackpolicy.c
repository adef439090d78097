// SPDX-License-Identifier: GPL-2.0
/*
 * An extension for crash(8): kernel stacks that have holes. crash reads the whole
 * span of a stack at once and gives up where nothing is mapped. With this loaded,
 * a page that the stack retains reads as what it is, and a hole as zeroes. For
 * dumps from outside and for the running kernel; in a dump that kdump has taken
 * there are no holes.
 *
 *	crash> extend stackpolicy.so
 */
#include <crash/defs.h>

/* _KSTACK_RETAINED in arch/x86/include/asm/kstack.h: a macro, so no debugger knows it. */
#define KSTACK_RETAINED	0x200UL

#define SLOTS_MAX	16

typedef int (*kvtop_fn)(struct task_context *tc, ulong addr, physaddr_t *paddr, int verbose);

/* What is asked first, while we are loaded. */
static kvtop_fn kvtop_before;

/* Where things are in this kernel. */
static struct {
	long	page_index, page_private;
	long	kstack_base, kstack_ptep, kstack_populate, kstack_limit, kstack_want;
	long	task_kstack;
	ulong	zero_page;		/* physical */
} at;

/* A span and its PTEs; of a dump they stay the same. */
static struct {
	ulong	base;			/* 0: none yet */
	ulong	ptes[SLOTS_MAX];
} last;

static bool read_kernel(ulong addr, void *to, long size)
{
	return readmem(addr, KVADDR, to, size, "kernel stack", RETURN_ON_ERROR | QUIET);
}

static bool read_word(ulong addr, ulong *word)
{
	return read_kernel(addr, word, sizeof(*word));
}

static unsigned int nr_slots(void)
{
	return STACKSIZE() / PAGESIZE();
}

/*
 * The struct kstack of the span at @base, 0 if there is none. As the kernel does it in
 * a fault: the top page, which is always mapped, leads there.
 */
static ulong find_kstack(ulong base)
{
	ulong top = base + STACKSIZE() - PAGESIZE(), page, index, kstack, owns;
	physaddr_t paddr;

	if (!kvtop_before(NULL, top, &paddr, 0) || !phys_to_page(paddr, &page))
		return 0;
	if (!read_word(page + at.page_index, &index) || index != base)
		return 0;
	if (!read_word(page + at.page_private, &kstack) || !IS_KVADDR(kstack))
		return 0;
	return read_word(kstack + at.kstack_base, &owns) && owns == base ? kstack : 0;
}

static bool read_slots(ulong kstack, ulong *ptes)
{
	ulong ptep;

	return read_word(kstack + at.kstack_ptep, &ptep) &&
	       read_kernel(ptep, ptes, nr_slots() * sizeof(*ptes));
}

static bool is_retained(ulong pte)
{
	return !(pte & 1) && (pte & KSTACK_RETAINED);
}

/* The PTE is inverted, as that of each page that is not present (L1TF). */
static ulong retained_page(ulong pte)
{
	return ~pte & PHYSICAL_PAGE_MASK;
}

/* What crash asks for each page that it reads: only where it finds nothing, do we look. */
static int stackpolicy_kvtop(struct task_context *tc, ulong addr, physaddr_t *paddr, int verbose)
{
	ulong base = addr & ~(STACKSIZE() - 1), kstack, pte;

	if (kvtop_before(tc, addr, paddr, verbose))
		return TRUE;
	if (!IS_VMALLOC_ADDR(addr))
		return FALSE;
	if (last.base != base || ACTIVE()) {
		last.base = 0;
		kstack = find_kstack(base);
		if (!kstack || !read_slots(kstack, last.ptes))
			return FALSE;
		last.base = base;
	}
	pte = last.ptes[(addr - base) / PAGESIZE()];
	*paddr = (is_retained(pte) ? retained_page(pte) : at.zero_page) + PAGEOFFSET(addr);
	if (verbose)
		fprintf(fp, "%s\n", is_retained(pte) ?
			"a page that its kernel stack retains" :
			"a hole of a kernel stack, read as zeroes");
	return TRUE;
}

/* A hole may have been filled with the zero page by a kernel that crashed. */
static bool is_mapped(ulong pte)
{
	return (pte & 1) && (pte & PHYSICAL_PAGE_MASK) != at.zero_page;
}

static void show_stack(struct task_context *tc)
{
	unsigned int mapped = 0, retained = 0, populate, limit, want, slot;
	ulong kstack, ptes[SLOTS_MAX];

	if (!read_word(tc->task + at.task_kstack, &kstack))
		return;
	fprintf(fp, "%7ld  %16lx  ", tc->pid, tc->task);
	/* Threads from before the policy was ready, idle ones for instance. */
	if (!kstack) {
		fprintf(fp, "%6ld        -        -      -  %s\n", STACKSIZE() / 1024, tc->comm);
		return;
	}
	if (!read_slots(kstack, ptes) ||
	    !read_kernel(kstack + at.kstack_populate, &populate, sizeof(populate)) ||
	    !read_kernel(kstack + at.kstack_limit, &limit, sizeof(limit)) ||
	    !read_kernel(kstack + at.kstack_want, &want, sizeof(want))) {
		fprintf(fp, "(cannot be read)  %s\n", tc->comm);
		return;
	}
	for (slot = 0; slot < nr_slots(); slot++) {
		mapped += is_mapped(ptes[slot]);
		retained += is_retained(ptes[slot]);
	}
	fprintf(fp, "%6ld %8ld %8d %6d  %s%s\n", mapped * PAGESIZE() / 1024,
		retained * PAGESIZE() / 1024, populate / 1024, limit / 1024, tc->comm,
		want ? " (trimmed)" : "");
}

static void cmd_kstack(void)
{
	struct task_context *tc;
	ulong i, number;

	if (argcnt > 2)
		cmd_usage(pc->curcmd, SYNOPSIS);
	fprintf(fp, "%7s  %16s  %6s %8s %8s %6s  %s\n", "PID", "TASK", "MAPPED", "RETAINED",
		"POPULATE", "LIMIT", "COMM");
	if (argcnt == 2) {
		if (str_to_context(args[1], &number, &tc) == STR_INVALID)
			error(FATAL, "%s: no such task\n", args[1]);
		show_stack(tc);
		return;
	}
	for (i = 0, tc = FIRST_CONTEXT(); i < RUNNING_TASKS(); i++, tc++)
		show_stack(tc);
}

static char *help_kstack[] = {
	"kstack",
	"memory of kernel stacks under the stack policy",
	"[pid | task]",
	"  What each task, or one, has of its kernel stack, in kB: pages that are mapped,",
	"  pages that are unmapped and kept for this stack, and its class's sizes. \"trimmed\"",
	"  is a task that has slept for long: it gets its pages back when it wakes up.",
	"  In a dump that kdump has taken, RETAINED pages are mapped again.",
	NULL
};

static struct command_table_entry commands[] = {
	{ "kstack", cmd_kstack, help_kstack, 0 },
	{ NULL },
};

static long offset_of(char *name, char *member)
{
	long offset = MEMBER_OFFSET(name, member);

	if (offset < 0)
		offset = ANON_MEMBER_OFFSET(name, member);
	if (offset < 0)
		error(INFO, "stackpolicy: struct %s has no member %s\n", name, member);
	return offset;
}

static bool find_offsets(void)
{
	at.page_index = offset_of("page", "index");
	at.page_private = offset_of("page", "private");
	at.kstack_base = offset_of("kstack", "base");
	at.kstack_ptep = offset_of("kstack", "ptep");
	at.kstack_populate = offset_of("kstack", "populate");
	at.kstack_limit = offset_of("kstack", "limit");
	at.kstack_want = offset_of("kstack", "want");
	at.task_kstack = offset_of("task_struct", "kstack");
	return at.page_index >= 0 && at.page_private >= 0 && at.kstack_base >= 0 &&
	       at.kstack_ptep >= 0 && at.kstack_populate >= 0 && at.kstack_limit >= 0 &&
	       at.kstack_want >= 0 && at.task_kstack >= 0;
}

/*
 * A kernel without SEV has no stack for #VC, but crash 8.0.6 searches it for where an
 * active task is, and fails to read nothing. Has nothing to do with the policy.
 */
static void forget_empty_stacks(void)
{
	struct machine_specific *ms = machdep->machspec;
	int cpu, stack;

	for (stack = 0; stack < MAX_EXCEPTION_STACKS; stack++) {
		if (ms->stkinfo.esize[stack])
			continue;
		for (cpu = 0; cpu < kt->cpus; cpu++)
			ms->stkinfo.ebase[cpu][stack] = 0;
	}
}

static void __attribute__((constructor)) stackpolicy_init(void)
{
	if (!STRUCT_EXISTS("kstack")) {
		error(INFO, "stackpolicy: this kernel has no stack policy, nothing to do\n");
		return;
	}
	if (nr_slots() > SLOTS_MAX || !find_offsets())
		return;
	at.zero_page = VTOP(symbol_value("empty_zero_page"));
	kvtop_before = machdep->kvtop;
	machdep->kvtop = stackpolicy_kvtop;
	forget_empty_stacks();
	register_extension(commands);
}

static void __attribute__((destructor)) stackpolicy_fini(void)
{
	if (kvtop_before && machdep->kvtop == stackpolicy_kvtop)
		machdep->kvtop = kvtop_before;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of how holes are filled for a dump, one stack at a time: what is filled
 * is emptied again, as this kernel lives on. Included by kstack_dump.c.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/smp.h>
#include <asm/tlbflush.h>

#include "kstack_test.h"

#define PATTERN		0x5a5a0f0f5a5a0f0fUL

/* A kthread that sleeps, or runs all the time, on one CPU; and its slots as they were. */
struct dumped {
	struct task_struct	*task;
	struct kstack		*ks;
	pte_t			before[KSTACK_PAGES];
};

static int sleeping_fn(void *data)
{
	return sleep_until_stopped();
}

static int running_fn(void *data)
{
	complete(data);
	while (!kthread_should_stop())
		cpu_relax();
	return 0;
}

static void start_on(struct kunit *test, struct dumped *d, unsigned int cpu, bool run)
{
	DECLARE_COMPLETION_ONSTACK(runs);

	d->task = kthread_create(run ? running_fn : sleeping_fn, &runs, "dumped");
	KUNIT_ASSERT_FALSE(test, IS_ERR(d->task));
	d->ks = d->task->kstack;
	kthread_bind(d->task, cpu);
	wake_up_process(d->task);
	if (run)
		wait_for_completion(&runs);
	else
		KUNIT_ASSERT_TRUE(test, is_asleep(d->task));
}

static void fill(struct dumped *d, enum kstack_use use)
{
	memcpy(d->before, d->ks->ptep, sizeof(d->before));
	kstack_dump_fill(d->ks->ptep, use);
}

/*
 * As it was before fill(). A RETAINED slot, if it was to be reclaimed, starts anew:
 * its page has been mapped since that flush.
 */
static void empty(struct dumped *d)
{
	unsigned long base = (unsigned long)d->ks->base;
	pte_t pte[KSTACK_PAGES];
	unsigned int slot;

	for (slot = 0; slot < KSTACK_PAGES; slot++) {
		pte[slot] = d->ks->ptep[slot];
		if (pte_present(d->before[slot]))
			continue;
		WRITE_ONCE(d->ks->ptep[slot].pte, 0);
	}
	flush_tlb_kernel_range(base, base + THREAD_SIZE);
	for (slot = 0; slot < KSTACK_PAGES; slot++) {
		if (arch_kstack_pte_retained(d->before[slot]))
			WRITE_ONCE(d->ks->ptep[slot].pte,
				   arch_kstack_mk_retained(d->before[slot], false).pte);
		else if (!pte_present(d->before[slot]) && pte_present(pte[slot]) &&
			 pte_page(pte[slot]) != ZERO_PAGE(0))
			__free_page(pte_page(pte[slot]));
	}
}

static unsigned long *word_of(const struct dumped *d, unsigned int slot)
{
	return d->ks->base + slot * PAGE_SIZE;
}

static void dead_reads_as_zeroes(struct kunit *test)
{
	unsigned long word = 0, ones = ~0UL;
	struct dumped d;
	unsigned int slot;

	start_on(test, &d, 0, false);
	KUNIT_EXPECT_EQ(test, -EFAULT, get_kernel_nofault(word, word_of(&d, 0)) ? -EFAULT : 0);
	fill(&d, KSTACK_DEAD);
	for (slot = 0; slot < KSTACK_PAGES; slot++) {
		KUNIT_EXPECT_TRUE(test, pte_present(d.ks->ptep[slot]));
		if (pte_present(d.before[slot]))
			continue;
		KUNIT_EXPECT_EQ(test, 0, get_kernel_nofault(word, word_of(&d, slot)) ? 1 : 0);
		KUNIT_EXPECT_EQ(test, 0, word);
		/* The page that all of user space reads zeroes from. */
		KUNIT_EXPECT_NE(test, 0, copy_to_kernel_nofault(word_of(&d, slot), &ones,
								sizeof(ones)));
	}
	empty(&d);
	kthread_stop(d.task);
}

static unsigned int trim_blocked(struct task_struct *task)
{
	unsigned int nr;

	if (!try_get_task_stack(task))
		return 0;
	nr = kstack_trim_blocked(task, anybody);
	put_task_stack(task);
	return nr;
}

/* Sooner than reclaim, which takes the page after a second. */
static void retained_is_mapped_again(struct kunit *test)
{
	unsigned long word = 0, *low;
	unsigned int nr, slot, tries = 0;
	struct dumped d;

	do {
		start_on(test, &d, 0, false);
		slot = KSTACK_PAGES - kstack_mapped(d.ks) / PAGE_SIZE;
		low = word_of(&d, slot);
		/* Below all that it uses. */
		*low = PATTERN;
		read_poll_timeout(trim_blocked, nr, nr, POLL_US, DEADLINE_US, false, d.task);
		fill(&d, KSTACK_MAY_BE_USED);
		if (!arch_kstack_pte_retained(d.before[slot])) {
			empty(&d);
			kthread_stop(d.task);
			continue;
		}
		/* Reading alone says nothing: some TLB may still have it. */
		KUNIT_EXPECT_TRUE(test, pte_present(d.ks->ptep[slot]));
		KUNIT_EXPECT_EQ(test, 0, get_kernel_nofault(word, low) ? 1 : 0);
		KUNIT_EXPECT_EQ(test, PATTERN, word);
		KUNIT_EXPECT_FALSE(test, pte_present(d.ks->ptep[0]));
		empty(&d);
		kthread_stop(d.task);
		return;
	} while (++tries < 100);
	KUNIT_FAIL(test, "reclaim was always faster");
}

static void in_use_gets_its_own_pages(struct kunit *test)
{
	unsigned int slot, reserve, holes = 0;
	struct dumped d;

	start_on(test, &d, 0, false);
	migrate_disable();
	reserve = kstack_reserve_count(smp_processor_id());
	fill(&d, KSTACK_IN_USE);
	for (slot = 0; slot < KSTACK_PAGES; slot++) {
		KUNIT_EXPECT_TRUE(test, pte_present(d.ks->ptep[slot]));
		KUNIT_EXPECT_PTR_NE(test, ZERO_PAGE(0), pte_page(d.ks->ptep[slot]));
		if (pte_present(d.before[slot]))
			continue;
		holes++;
		*word_of(&d, slot) = PATTERN;
	}
	KUNIT_EXPECT_GT(test, holes, 0);
	/* Nobody refills until somebody takes a page as usual. */
	KUNIT_EXPECT_EQ(test, reserve - holes, kstack_reserve_count(smp_processor_id()));
	preempt_disable();
	kstack_refill_soon();
	preempt_enable();
	migrate_enable();
	empty(&d);
	kthread_stop(d.task);
}

/* Nothing may be used twice: it stays as it is where it cannot be given pages. */
static void may_be_used_is_left_alone(struct kunit *test)
{
	unsigned int left = kstack_dump.left;
	struct dumped d;

	start_on(test, &d, 0, false);
	fill(&d, KSTACK_MAY_BE_USED);
	KUNIT_EXPECT_EQ(test, left + 1, kstack_dump.left);
	KUNIT_EXPECT_EQ(test, 0, memcmp(d.before, d.ks->ptep, sizeof(d.before)));
	kthread_stop(d.task);
}

static enum kstack_use use_of(const struct dumped *d)
{
	return kstack_dump_use(d->ks, (unsigned long)d->ks->base);
}

static void cpu_that_did_not_stop(struct kunit *test)
{
	unsigned int here, other;
	struct dumped s, r;

	if (num_online_cpus() < 2)
		kunit_skip(test, "one CPU");
	migrate_disable();
	here = smp_processor_id();
	other = cpumask_any_but(cpu_online_mask, here);
	start_on(test, &s, other, false);
	start_on(test, &r, other, true);

	KUNIT_EXPECT_EQ(test, KSTACK_IN_USE,
			kstack_dump_use(current->kstack, (unsigned long)current->stack));
	KUNIT_EXPECT_EQ(test, KSTACK_DEAD, use_of(&s));
	KUNIT_EXPECT_EQ(test, KSTACK_DEAD, use_of(&r));
	cpumask_set_cpu(other, &kstack_dump.running);
	KUNIT_EXPECT_EQ(test, KSTACK_MAY_BE_USED, use_of(&s));
	KUNIT_EXPECT_EQ(test, KSTACK_IN_USE, use_of(&r));
	cpumask_clear(&kstack_dump.running);
	cpumask_set_cpu(here, &kstack_dump.running);
	KUNIT_EXPECT_EQ(test, KSTACK_DEAD, use_of(&s));
	cpumask_clear(&kstack_dump.running);
	/* No CPU has a note: this kernel lives. */
	kstack_dump_find_running();
	KUNIT_EXPECT_TRUE(test, cpumask_test_cpu(other, &kstack_dump.running));
	KUNIT_EXPECT_FALSE(test, cpumask_test_cpu(here, &kstack_dump.running));
	cpumask_clear(&kstack_dump.running);
	migrate_enable();
	kthread_stop(r.task);
	kthread_stop(s.task);
}

/* Pointers into nowhere, and to what is not what it should be. */
static void garbage_is_no_stack(struct kunit *test)
{
	unsigned long base = VMALLOC_START + 37 * THREAD_SIZE;
	struct page *page = alloc_page(GFP_KERNEL);
	unsigned long bad[] = { 0, 8, 1UL << 62, VMALLOC_END - PAGE_SIZE, ~0UL };
	struct kstack ks = { .base = (void *)base };
	pte_t pte;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, page);
	pte = mk_pte(page, PAGE_KERNEL);
	page->index = base;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		set_page_private(page, bad[i]);
		KUNIT_EXPECT_NULL(test, kstack_dump_owner(pte, base));
	}
	set_page_private(page, (unsigned long)&ks);
	KUNIT_EXPECT_PTR_EQ(test, &ks, kstack_dump_owner(pte, base));
	KUNIT_EXPECT_NULL(test, kstack_dump_owner(pte, base + THREAD_SIZE));
	KUNIT_EXPECT_NULL(test, kstack_dump_owner(__pte(pte.pte & ~_PAGE_PRESENT), base));
	/* Device memory, or nonsense. */
	KUNIT_EXPECT_NULL(test, kstack_dump_owner(pfn_pte((1UL << 39) - 1, PAGE_KERNEL), base));

	/* Whose thread is nonsense: it may be anybody's. */
	cpumask_set_cpu(0, &kstack_dump.running);
	for (i = 1; i < ARRAY_SIZE(bad); i++) {
		ks.task = (void *)bad[i];
		KUNIT_EXPECT_EQ(test, KSTACK_MAY_BE_USED, kstack_dump_use(&ks, base));
	}
	ks.task = current;
	KUNIT_EXPECT_EQ(test, KSTACK_MAY_BE_USED, kstack_dump_use(&ks, base));
	cpumask_clear(&kstack_dump.running);
	page->index = 0;
	set_page_private(page, 0);
	__free_page(page);
}

/* Of the walk below. */
static unsigned int walk_found;
static const struct kstack *walk_looks_for;
static bool walk_has_it;

static void count_stack(pte_t *ptep, struct kstack *ks, unsigned long base)
{
	walk_found++;
	walk_has_it |= ks == walk_looks_for && ptep == ks->ptep && base == (unsigned long)ks->base;
}

static void walk_finds_stacks(struct kunit *test)
{
	struct dumped d;
	u64 start;

	start_on(test, &d, 0, false);
	walk_found = 0;
	walk_has_it = false;
	walk_looks_for = d.ks;
	start = local_clock();
	kstack_dump_walk(count_stack, 60ULL * NSEC_PER_SEC, MAX_TABLES);
	start = local_clock() - start;
	KUNIT_EXPECT_TRUE(test, walk_has_it);
	KUNIT_EXPECT_GT(test, walk_found, 10);
	KUNIT_EXPECT_FALSE(test, kstack_dump.late);
	kunit_info(test, "walk: %u stacks in %u tables, %llu ns\n", walk_found,
		   MAX_TABLES - kstack_dump.tables, start);

	walk_found = 0;
	kstack_dump_walk(count_stack, 60ULL * NSEC_PER_SEC, 0);
	KUNIT_EXPECT_TRUE(test, kstack_dump.late);
	KUNIT_EXPECT_EQ(test, 0, walk_found);
	kthread_stop(d.task);
}

static struct kunit_case kstack_dump_cases[] = {
	KUNIT_CASE(dead_reads_as_zeroes),
	KUNIT_CASE(retained_is_mapped_again),
	KUNIT_CASE(in_use_gets_its_own_pages),
	KUNIT_CASE(may_be_used_is_left_alone),
	KUNIT_CASE(cpu_that_did_not_stop),
	KUNIT_CASE(garbage_is_no_stack),
	KUNIT_CASE(walk_finds_stacks),
	{}
};

static struct kunit_suite kstack_dump_suite = {
	.name = "stack_policy_dump",
	.test_cases = kstack_dump_cases,
};
kunit_test_suite(kstack_dump_suite);

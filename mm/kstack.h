/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Between kstack.c, which gives stacks their pages, kstack_trim.c, which takes
 * them away again, kstack_wake.c, which brings them back before their thread
 * runs, and kstack_reserve.c, which has pages where none can be allocated.
 */
#ifndef _MM_KSTACK_H
#define _MM_KSTACK_H

#include <linux/kstack.h>
#include <linux/mm.h>
#include <asm/kstack.h>

/*
 * Below the stack pointer of a thread that drops its excess: what it calls to do
 * so, and an interrupt's frame.
 */
#define KSTACK_MARGIN	1024

static inline unsigned long kstack_top(const struct kstack *ks)
{
	return (unsigned long)ks->base + THREAD_SIZE;
}

static inline pte_t *kstack_ptep(const struct kstack *ks, unsigned long addr)
{
	return ks->ptep + ((addr - (unsigned long)ks->base) >> PAGE_SHIFT);
}

/* kstack.c */
void kstack_note_low(struct kstack *ks);
unsigned long kstack_used(const struct kstack *ks, unsigned long low, unsigned long high);
void kstack_set_size(struct kstack *ks, struct kstack_size size);
bool kstack_install(struct kstack *ks, unsigned long addr, struct page *page);
int kstack_populate(struct kstack *ks, size_t bytes, int node, gfp_t gfp);
void kstack_charge_later(struct kstack *ks);
void kstack_charge_growth(struct kstack *ks);
void kstack_uncharge_slot(struct kstack *ks, unsigned int slot, struct page *page);
void kstack_catch_up(unsigned int cpu);

/*
 * kstack_reserve.c: zeroed pages of this CPU. Any context, NMIs too; nothing is
 * allocated, locked or woken here. A refill is on its way after each of the first
 * three.
 */
struct page *kstack_reserve_take(bool spare);
void kstack_refill_soon(void);
void kstack_refill_surely(void);
void kstack_reserve_put(struct page *page);
/* Without a refill: for the way into the crash kernel. */
struct page *kstack_reserve_take_last(void);
#ifdef CONFIG_FAIL_KSTACK_REFILL
bool kstack_refill_fails(void);
bool kstack_ensure_fails(gfp_t gfp);
#else
static inline bool kstack_refill_fails(void) { return false; }
static inline bool kstack_ensure_fails(gfp_t gfp) { return false; }
#endif

/* kstack_trim.c */
void kstack_trim_reset(struct kstack *ks);
void kstack_watch(struct kstack *ks);
bool kstack_take_back(struct kstack *ks, unsigned long addr);
unsigned int kstack_retained(const struct kstack *ks);
void kstack_forget(struct kstack *ks, unsigned int slot);
bool kstack_listed(struct kstack *ks);
void kstack_unlist(struct kstack *ks);
unsigned long kstack_try_reclaim(void);

/* kstack_wake.c */
void kstack_make_cold(struct task_struct *task, unsigned int mapped, unsigned int nr);
void kstack_made_cold(void);
bool kstack_can_wake(void);
bool kstack_begin_donations(void);
bool kstack_donate(struct page *page, bool zeroed);
void kstack_wake_catch_up(void);

#endif /* _MM_KSTACK_H */

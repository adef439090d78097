// SPDX-License-Identifier: GPL-2.0
/*
 * A stack overflows: may it grow, and what was seen, kept for the report
 * without a lock. Runs in the fault, as an NMI does.
 */
#define pr_fmt(fmt) "stack_policy: " fmt

#include <linux/kprobes.h>
#include <linux/kstack.h>
#include <linux/minmax.h>
#include <linux/percpu.h>
#include <linux/smp.h>
#include <linux/stack_policy.h>
#include <linux/string.h>

#include "stack_policy.h"

#define RING_SIZE	8	/* a stack of one page can overflow 7 times in a row */

/*
 * A CPU's overflows that wait to be reported. The fault writes at @head and may
 * interrupt the reader on the same CPU, which reads at @tail.
 */
struct overflow_ring {
	unsigned int		head, tail;
	struct overflow		slot[RING_SIZE];
};

static DEFINE_PER_CPU(struct overflow_ring, overflow_rings);

/* Deep overflows survived, and those of them that the ring had no room for. */
static atomic_t nr_survived, nr_missed;

void stack_policy_count_overflows(unsigned int *survived, unsigned int *missed)
{
	*survived = atomic_read(&nr_survived);
	*missed = atomic_read(&nr_missed);
}

/*
 * Innermost first. When all places but the last are taken, a frame takes that of the
 * oldest one in the outer half: the outermost ones stay, which name the system call or the
 * thread. The last place adds up the bytes of those that went.
 */
static void add_frame(struct kstack_frames *frames, unsigned long ip, unsigned int bytes)
{
	unsigned int at = frames->nr;

	if (at < KSTACK_FRAMES - 1) {
		frames->nr++;
	} else {
		at = KSTACK_INNER + frames->left_out++ % KSTACK_OUTER;
		frames->bytes[KSTACK_FRAMES - 1] += frames->bytes[at];
	}
	frames->ip[at] = ip;
	frames->bytes[at] = bytes;
}
NOKPROBE_SYMBOL(add_frame);

static void reverse(struct kstack_frames *frames, unsigned int from, unsigned int to)
{
	while (from + 1 < to) {
		to--;
		swap(frames->ip[from], frames->ip[to]);
		swap(frames->bytes[from], frames->bytes[to]);
		from++;
	}
}

/* The last place goes to the middle, and the outer frames into their order. */
static void put_in_order(struct kstack_frames *frames)
{
	unsigned int oldest = KSTACK_INNER + frames->left_out % KSTACK_OUTER;

	if (!frames->left_out)
		return;
	frames->ip[frames->nr++] = KSTACK_LEFT_OUT;
	reverse(frames, KSTACK_INNER, oldest);
	reverse(frames, oldest, KSTACK_FRAMES - 1);
	reverse(frames, KSTACK_INNER, KSTACK_FRAMES);
}

static void walk(struct task_struct *task, struct pt_regs *regs, struct kstack_frames *frames)
{
	frames->nr = 0;
	frames->left_out = 0;
	frames->bytes[KSTACK_FRAMES - 1] = 0;
	arch_stack_policy_walk(task, regs, add_frame, frames);
	put_in_order(frames);
}

static void record_overflow(struct kstack *ks, struct pt_regs *regs,
			    unsigned long from, bool deep, int vector)
{
	struct overflow_ring *ring = this_cpu_ptr(&overflow_rings);
	unsigned long top = (unsigned long)ks->base + THREAD_SIZE;
	struct overflow *overflow;

	if (deep)
		atomic_inc(&nr_survived);
	/* Events leave half of it to what has to be warned of. */
	if (ring->head - READ_ONCE(ring->tail) >= (deep ? RING_SIZE : RING_SIZE / 2)) {
		if (deep)
			atomic_inc(&nr_missed);
		return;
	}
	overflow = &ring->slot[ring->head % RING_SIZE];
	strscpy(overflow->comm, ks->task->comm);
	overflow->pid = ks->task->pid;
	overflow->class = ks->task->stack_class;
	overflow->from_bytes = top - from;
	overflow->to_bytes = kstack_mapped(ks);
	overflow->limit_bytes = ks->limit;
	overflow->deep = deep;
	overflow->vector = vector;
	walk(ks->task, regs, &overflow->frames);
	barrier();	/* same CPU: the slot before the head */
	WRITE_ONCE(ring->head, ring->head + 1);
}

/* The machine is about to die as a stock kernel does. Say why it has to. */
static void explain_death(const struct kstack *ks, int ret)
{
	const struct task_struct *task = ks->task;
	struct kstack_reserve_stats stats;
	int cpu = raw_smp_processor_id();

	switch (ret) {
	case -EOVERFLOW:
		pr_emerg("%s[%d] (%s) is past its limit of %u bytes\n", task->comm,
			 task->pid, stack_policy_class_name(task->stack_class), ks->limit);
		break;
	case -ENOMEM:
		kstack_reserve_read(cpu, &stats);
		pr_emerg("CPU %d's reserve is empty: %lu pages taken, %lu refills failed\n",
			 cpu, stats.taken, atomic_long_read(&stats.refill_failed));
		break;
	case -EPERM:
		pr_emerg("kernel.stack_policy_overflow is panic\n");
		break;
	}
}

/**
 * stack_policy_overflow - a thread needs more stack than is mapped
 * @ks: its stack
 * @regs: where it was
 * @address: what has to be mapped, in the span of @ks
 * @vector: of the interrupt that did not fit, -1 if there is none
 *
 * Up to what a stock kernel's stack has this is an event and nothing worse, whatever
 * kernel.stack_policy_overflow says: that kernel would not even have noticed.
 *
 * Context: the fault, as an NMI is: takes no lock, allocates nothing, prints
 * nothing unless the machine is about to die of it.
 * Return: true if it is mapped now and the CPU may go on.
 */
bool stack_policy_overflow(struct kstack *ks, struct pt_regs *regs,
			   unsigned long address, int vector)
{
	unsigned long low = kstack_low(ks), to = address & PAGE_MASK;
	bool deep = stack_policy_is_deep((unsigned long)ks->base + THREAD_SIZE - to);
	int ret = -EPERM;

	if (!deep || stack_policy_may_survive())
		ret = kstack_grow(ks, to, 0, deep ? KSTACK_FAULT_DEEP : KSTACK_FAULT);
	if (ret) {
		explain_death(ks, ret);
		return false;
	}
	record_overflow(ks, regs, low, deep, vector);
	return true;
}
NOKPROBE_SYMBOL(stack_policy_overflow);

/*
 * The oldest overflow of @cpu that nobody has looked at, or NULL. One reader at a
 * time: in an interrupt of @cpu, or when that is dead.
 */
const struct overflow *stack_policy_next_overflow(unsigned int cpu)
{
	struct overflow_ring *ring = per_cpu_ptr(&overflow_rings, cpu);

	if (ring->tail == READ_ONCE(ring->head))
		return NULL;
	barrier();	/* same CPU: the head before the slot */
	return &ring->slot[ring->tail % RING_SIZE];
}

/* Its slot may be used again. */
void stack_policy_overflow_done(unsigned int cpu)
{
	struct overflow_ring *ring = per_cpu_ptr(&overflow_rings, cpu);

	barrier();	/* read before it is free */
	WRITE_ONCE(ring->tail, ring->tail + 1);
}

#if IS_ENABLED(CONFIG_STACK_POLICY_KUNIT_TEST)
#include "stack_policy_record_test.c"
#endif

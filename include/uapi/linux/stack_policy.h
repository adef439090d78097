/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Kernel stacks sized by what a thread is: what user space sees of it.
 * Append only; values are ABI.
 */
#ifndef _UAPI_LINUX_STACK_POLICY_H
#define _UAPI_LINUX_STACK_POLICY_H

#include <linux/types.h>

/* What kind of thread it is. */
enum stack_class {
	STACK_CLASS_TASK,		/* user threads */
	STACK_CLASS_KTHREAD,		/* kernel threads, kworkers */
	STACK_CLASS_KTHREAD_BIG,	/* created with KTHREAD_BIG_STACK */
	STACK_CLASS_KVM_VCPU,		/* threads that run a vCPU */
	STACK_CLASS_USER_WORKER,	/* io_uring and vhost workers */
	STACK_CLASS_IRQ,		/* no threads: the CPUs' interrupt stacks */
	STACK_CLASS_TASK_BIG,		/* user threads that a BPF program has put there */
	STACK_CLASS_MAX,
};

/* What becomes of the stack of a thread that sleeps for kernel.stack_policy_cold_ms. */
enum stack_policy_sleepers {
	STACK_SLEEPERS_BY_SIZE,		/* trimmed if populate_kb is below limit_kb */
	STACK_SLEEPERS_TRIM,		/* trimmed */
	STACK_SLEEPERS_KEEP,		/* left alone */
};

/*
 * One row of the table. Multiples of the page size, populate <= limit; the same of
 * kvm-vcpu; as it is of irq.
 */
struct stack_policy_entry {
	__u32	populate_kb;		/* memory at creation */
	__u16	limit_kb;		/* how far the stack may grow */
	__u16	sleepers;		/* enum stack_policy_sleepers */
};

#define STACK_POLICY_DEPTHS	32
#define STACK_POLICY_DELAYS	32

/*
 * Counters of one class, value of the BPF map "stack_stats". They begin at
 * boot; threads, mapped_kb and retained_kb are what there is now.
 */
struct stack_policy_stats {
	__u64	threads;		/* irq: stacks, one for each possible CPU */
	__u64	mapped_kb;		/* memory of their stacks */
	__u64	grows_ensure;		/* asked for by stack_ensure() */
	__u64	grows_fault;		/* overflows that were survived, in all */
	__u64	grows_class;		/* joined the class while running */
	__u64	failed_nomem;		/* no memory for a stack or its growth */
	__u64	failed_limit;		/* growth wanted past limit_kb */
	/* Exits by deepest use: [0] up to 1 kB, [1] up to 2 kB, ... */
	__u64	exit_depth_kb[STACK_POLICY_DEPTHS];
	/*
	 * Part of mapped_kb that no memory cgroup and not KernelStack has yet:
	 * grown by an overflow a moment ago, or its thread has just exited.
	 */
	__u64	uncharged_kb;

	/* Giving back. */
	__u64	trims_excess;		/* stacks cut back to populate_kb */
	__u64	trims_cold;		/* stacks of sleepers cut to what they use */
	__u64	retained_kb;		/* unmapped now, to be freed or taken back */
	__u64	reclaimed_kb;		/* freed */
	/* What sleepers that were cut were given when they were woken: */
	__u64	restored_kb;		/* their own pages */
	__u64	replaced_kb;		/* others */
	__u64	late_starts;		/* times that they had to wait for these */

	/*
	 * Living threads, as of the last walk over all of them: by depth when
	 * they were switched out, and by deepest use. [0] up to 1 kB, ...
	 */
	__u64	depth_kb[STACK_POLICY_DEPTHS];
	__u64	high_water_kb[STACK_POLICY_DEPTHS];

	/* Part of grows_fault: to more than kernel.stack_policy_warn_kb. */
	__u64	grows_fault_deep;

	/* late_starts by microseconds: [0] below 1, [1] below 2, [2] below 4, ... */
	__u64	late_us[STACK_POLICY_DELAYS];

	/*
	 * How old depth_kb and high_water_kb are, milliseconds. If that is more than
	 * 1,000, reading them has begun a new walk: read again.
	 */
	__u64	depths_age_ms;
};

#endif /* _UAPI_LINUX_STACK_POLICY_H */

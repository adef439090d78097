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
	STACK_CLASS_MAX,
};

/* One row of the table. Multiples of the page size, populate <= limit. */
struct stack_policy_entry {
	__u32	populate_kb;		/* memory at creation */
	__u32	limit_kb;		/* how far the stack may grow */
};

#endif /* _UAPI_LINUX_STACK_POLICY_H */

// SPDX-License-Identifier: GPL-2.0
/*
 * What BPF programs call: growth that is asked for at places that the kernel's source does
 * not know of, and the class of a thread. Knows no sizes.
 */
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/init.h>
#include <linux/sizes.h>
#include <linux/stack_policy.h>

#include "stack_policy.h"

/* Less than its own frames and those of stack_ensure(). */
#define ROOM	SZ_1K

/* Programs call them, nobody else. */
int bpf_stack_ensure(u32 bytes);
int bpf_stack_set_class(struct task_struct *task, u32 class);

__bpf_kfunc_start_defs();

/**
 * bpf_stack_ensure - have stack for what comes next
 * @bytes: how many below the stack pointer of the program
 *
 * As stack_ensure(), which see, for the thread that runs the program. It takes pages from the
 * reserve of the CPU and leaves half of them there; they are charged later. So a program
 * may call it wherever it runs, in an NMI or under the lock of a runqueue.
 *
 * Context: Any.
 * Return: 0, -ENOMEM, or -EOVERFLOW if the limit of the class, or the end of a stack that is
 *	not the thread's, is in the way; up to the limit there is stack then.
 */
__bpf_kfunc int bpf_stack_ensure(u32 bytes)
{
	int ret = stack_ensure(bytes, 0);
	unsigned long end, left;

	if (ret != -EOVERFLOW || !on_thread_stack())
		return ret;
	end = (unsigned long)task_stack_page(current) + THREAD_SIZE - stack_policy_limit(current);
	left = current_stack_pointer - end;
	if (left > ROOM && left < THREAD_SIZE)
		stack_ensure(left - ROOM, 0);
	return ret;
}

/**
 * bpf_stack_set_class - what kind of thread a user thread is
 * @task: the thread; of a new one, from the tracepoint task_newtask on
 * @class: STACK_CLASS_TASK or STACK_CLASS_TASK_BIG
 *
 * The thread joins the class by itself when it goes to user mode next, a new one before it
 * runs there first. It is not woken or interrupted for it. Where there is no memory for the
 * size of the class it stays in its own, which failed_nomem of that class counts; nobody is
 * killed for it. Its children are not what it is.
 *
 * Context: Any.
 * Return: 0, -EINVAL for another class, -EOPNOTSUPP for a thread that is something else by
 *	itself (a kernel thread, a worker, a vCPU's), -ESRCH for one that has exited.
 */
__bpf_kfunc int bpf_stack_set_class(struct task_struct *task, u32 class)
{
	return stack_policy_want_class(task, class);
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(stack_policy_kfuncs)
BTF_ID_FLAGS(func, bpf_stack_ensure)
BTF_ID_FLAGS(func, bpf_stack_set_class, KF_RCU)
BTF_KFUNCS_END(stack_policy_kfuncs)

static const struct btf_kfunc_id_set stack_policy_kfunc_set = {
	.owner	= THIS_MODULE,
	.set	= &stack_policy_kfuncs,
};

static int __init stack_policy_kfunc_init(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_TRACING, &stack_policy_kfunc_set);
}
late_initcall(stack_policy_kfunc_init);

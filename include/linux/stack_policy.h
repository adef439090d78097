/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kernel stacks sized by what a thread is: the contract for the hooks in the
 * rest of the kernel and for code that is about to go deep. Everything is an
 * empty stub without CONFIG_STACK_POLICY.
 */
#ifndef _LINUX_STACK_POLICY_H
#define _LINUX_STACK_POLICY_H

#include <linux/errno.h>
#include <linux/gfp_types.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <uapi/linux/stack_policy.h>

struct kernel_clone_args;
struct pid;
struct pid_namespace;
struct pt_regs;
struct seq_file;

#ifdef CONFIG_STACK_POLICY

/* Slow path of stack_ensure(). */
int stack_policy_ensure(size_t bytes, gfp_t gfp);

/**
 * stack_ensure - ask for stack before it is needed
 * @bytes: how many bytes below the current stack pointer the caller may use
 * @gfp: how to replace the pages taken: GFP_KERNEL where sleeping is allowed
 *
 * One compare when the memory is there already.
 *
 * Context: On the task's own stack; may sleep if @gfp allows it.
 * Return: 0, -ENOMEM, or -EOVERFLOW if the class limit is in the way or the
 * caller is not on its task stack.
 */
static __always_inline int stack_ensure(size_t bytes, gfp_t gfp)
{
	if (likely(current_stack_pointer >= current->stack_low + bytes))
		return 0;
	return stack_policy_ensure(bytes, gfp);
}

/**
 * stack_remaining - bytes that are mapped below the stack pointer
 *
 * Context: On the task's own stack.
 * Return: bytes usable without growing.
 */
static __always_inline unsigned long stack_remaining(void)
{
	return current_stack_pointer - current->stack_low;
}

/* fork.c: memory for a new thread's stack, by its class. */
/* fork.c, before the first fork. */
void stack_policy_init(void);

int stack_policy_alloc(struct task_struct *tsk, int node,
		       const struct kernel_clone_args *args);
void stack_policy_account_exit(struct task_struct *tsk);
void stack_policy_free(struct task_struct *tsk);

/* kthread.c: kthreadd is about to fork a thread with KTHREAD_* @flags. */
void stack_policy_fork_kthread(unsigned int flags);

/* Make current a member of @class. May sleep. Return: 0 or -ENOMEM, unchanged. */
int stack_policy_set_class(enum stack_class class);

/* The lowest address of @tsk's stack that can be read while it is pinned. */
static __always_inline void *stack_policy_low(const struct task_struct *tsk)
{
	return tsk->kstack ? (void *)READ_ONCE(tsk->stack_low) : task_stack_page(tsk);
}

/* Bytes below the deepest word that @tsk ever wrote, out of THREAD_SIZE. */
unsigned long stack_policy_not_used(const struct task_struct *tsk);

/* traps.c, fault.c: true if the fault was an overflow and the stack has grown. */
bool stack_policy_fault(struct pt_regs *regs, unsigned long address);

int stack_policy_proc_show(struct seq_file *m, struct pid_namespace *ns,
			   struct pid *pid, struct task_struct *tsk);

#else /* !CONFIG_STACK_POLICY */

static inline int stack_ensure(size_t bytes, gfp_t gfp)
{
	return 0;
}
static inline unsigned long stack_remaining(void)
{
	return current_stack_pointer - (unsigned long)task_stack_page(current);
}
static inline int stack_policy_alloc(struct task_struct *tsk, int node,
				     const struct kernel_clone_args *args)
{
	return -EOPNOTSUPP;
}
static inline void stack_policy_account_exit(struct task_struct *tsk) { }
static inline void stack_policy_free(struct task_struct *tsk) { }
static inline void stack_policy_fork_kthread(unsigned int flags) { }
static inline int stack_policy_set_class(enum stack_class class) { return 0; }
static __always_inline void *stack_policy_low(const struct task_struct *tsk)
{
	return task_stack_page(tsk);
}
static inline unsigned long stack_policy_not_used(const struct task_struct *tsk)
{
	return 0;
}
static __always_inline bool stack_policy_fault(struct pt_regs *regs,
					       unsigned long address)
{
	return false;
}

#endif /* CONFIG_STACK_POLICY */

#endif /* _LINUX_STACK_POLICY_H */

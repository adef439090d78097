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
#include <linux/kthread.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <uapi/linux/stack_policy.h>

struct kernel_clone_args;
struct page;
struct pid;
struct pid_namespace;
struct pt_regs;
struct seq_file;

#ifdef CONFIG_STACK_POLICY

/* Slow paths of stack_ensure() and stack_remaining(). */
int stack_policy_ensure(size_t bytes, gfp_t gfp);
unsigned long stack_policy_remaining(void);

/**
 * stack_ensure - ask for stack before it is needed
 * @bytes: how many bytes below the current stack pointer the caller may use
 * @gfp: how to allocate if the per-CPU reserve does not have the pages; 0: not
 *	at all, and charge them later, in any context
 *
 * Two compares when the memory is there already, and a third one with a constant
 * if @bytes is none. What it grows by is charged to the memcg of the thread, or
 * to none for a kernel thread, whatever set_active_memcg() says.
 *
 * Never reclaims memory itself, which would take the stack it is about to get.
 * What is there stays until the thread goes to user mode or runs its task works,
 * as it does in a ptrace stop and in io_uring's waits; it outlasts a sleep. A
 * kernel thread keeps it.
 *
 * On another stack, as in an interrupt, nothing grows, and the answer is about
 * that stack. Who may run there has no use for a failure: go on as on a kernel
 * whose stacks do not grow.
 *
 * Context: Any where memory may be allocated with @gfp.
 * Return: 0, -ENOMEM, or -EOVERFLOW if the class limit, or the end of another
 *	stack, is in the way.
 */
static __always_inline int stack_ensure(size_t bytes, gfp_t gfp)
{
	if (likely(on_thread_stack() && bytes < THREAD_SIZE &&
		   current_stack_pointer - bytes >= current->stack_low))
		return 0;
	return stack_policy_ensure(bytes, gfp);
}

/**
 * stack_want - ask for stack, and go on without
 * @bytes: as for stack_ensure()
 * @gfp: the same
 *
 * For who has no other way. What overflows then is caught.
 *
 * Context: As stack_ensure(). On another stack than the thread's, nothing.
 */
static __always_inline void stack_want(size_t bytes, gfp_t gfp)
{
	if (on_thread_stack() && unlikely(bytes >= THREAD_SIZE ||
					  current_stack_pointer - bytes < current->stack_low))
		stack_policy_ensure(bytes, gfp);
}

/**
 * stack_remaining - bytes that are mapped below the stack pointer
 *
 * Context: Any. On another stack than the task's own, as in an interrupt, it is
 * about that one.
 * Return: bytes usable without growing.
 */
static __always_inline unsigned long stack_remaining(void)
{
	if (likely(on_thread_stack()))
		return current_stack_pointer - current->stack_low;
	return stack_policy_remaining();
}

/*
 * fork.c: what a stack takes at most on a stock kernel, to compute max_threads
 * with, as the span says nothing about memory.
 */
#define STACK_POLICY_TYPICAL	(THREAD_SIZE / 2)

/* fork.c, before the first fork. */
void stack_policy_init(void);

/* fork.c: memory for a new thread's stack, by its class. */
int stack_policy_alloc(struct task_struct *tsk, int node,
		       const struct kernel_clone_args *args);
void stack_policy_account_exit(struct task_struct *tsk);
void stack_policy_free(struct task_struct *tsk);

/*
 * kthread.c: the next kthread that current asks for is made with these
 * KTHREAD_* flags. Take them back with 0.
 */
void stack_policy_kthread_flags(unsigned int flags);

/**
 * kthread_create_flags_on_node - create a kthread of a special kind
 * @threadfn: the function to run until kthread_should_stop()
 * @data: data ptr for @threadfn
 * @flags: %KTHREAD_BIG_STACK for a kernel stack that is fully populated from
 *	the start and stays so; ignored without CONFIG_STACK_POLICY
 * @node: as for kthread_create_on_node()
 * @namefmt: printf-style name for the thread
 *
 * Context: may sleep.
 * Return: as kthread_create_on_node(), and ERR_PTR(-EINVAL) for unknown @flags.
 */
__printf(5, 6)
struct task_struct *kthread_create_flags_on_node(int (*threadfn)(void *data),
						 void *data, unsigned int flags,
						 int node,
						 const char namefmt[], ...);

/* Make current a member of @class. May sleep. Return: 0 or -ENOMEM, unchanged. */
int stack_policy_set_class(enum stack_class class);

/* Bytes at the lower end of @tsk's span that are not mapped; pinned by the caller. */
static __always_inline unsigned long
stack_policy_unmapped(const struct task_struct *tsk)
{
	if (!tsk->kstack)
		return 0;
	return READ_ONCE(tsk->stack_low) - (unsigned long)task_stack_page(tsk);
}

/* exit.c: how far @tsk's stack may grow, and how much of that it has never used; bytes. */
unsigned long stack_policy_limit(const struct task_struct *tsk);
unsigned long stack_policy_not_used(const struct task_struct *tsk);

/* traps.c: true if the double fault was an overflow and the stack has grown. */
bool stack_policy_fault(struct pt_regs *regs, unsigned long address);

/* fault.c: true if the access has to fault again. */
bool stack_policy_page_fault(struct pt_regs *regs, unsigned long error_code,
			     unsigned long address);

/*
 * process.c: @next, whose stack was trimmed, is about to run, on that stack.
 * Called for who has TIF_KSTACK only.
 */
void stack_policy_switch_in(struct task_struct *next);

/*
 * sched/core.c: @tsk is asleep, and woken by its saved state. True if its stack is complete
 * and it is to be run; else it is by whoever completes it, or thaws it.
 */
bool stack_policy_wake(struct task_struct *tsk);

/* sched/core.c: as its callers for who has TASK_COLD. */
void stack_policy_prio_changed(struct task_struct *tsk);

/* freezer.c: as its callers for who has TASK_COLD. */
int stack_policy_freeze(struct task_struct *tsk);
int stack_policy_thaw(struct task_struct *tsk);

/* dma/debug.c: where @page lies in current's stack, or NULL. */
void *stack_policy_find_page(const struct page *page);

int stack_policy_proc_show(struct seq_file *m, struct pid_namespace *ns,
			   struct pid *pid, struct task_struct *tsk);

#else /* !CONFIG_STACK_POLICY */

#define STACK_POLICY_TYPICAL	THREAD_SIZE

static inline void stack_policy_init(void) { }

static inline int stack_ensure(size_t bytes, gfp_t gfp)
{
	return 0;
}
static inline void stack_want(size_t bytes, gfp_t gfp) { }
/* A macro: not every architecture has current_stack_pointer. */
#define stack_remaining() \
	(current_stack_pointer - (unsigned long)task_stack_page(current))
static inline int stack_policy_alloc(struct task_struct *tsk, int node,
				     const struct kernel_clone_args *args)
{
	return -EOPNOTSUPP;
}
static inline void stack_policy_account_exit(struct task_struct *tsk) { }
static inline void stack_policy_free(struct task_struct *tsk) { }
static inline void stack_policy_kthread_flags(unsigned int flags) { }
#define kthread_create_flags_on_node(threadfn, data, flags, node, namefmt, arg...) \
	((flags) & ~KTHREAD_BIG_STACK ? ERR_PTR(-EINVAL) :			\
	 kthread_create_on_node(threadfn, data, node, namefmt, ##arg))
static inline int stack_policy_set_class(enum stack_class class) { return 0; }
static __always_inline unsigned long
stack_policy_unmapped(const struct task_struct *tsk)
{
	return 0;
}
static inline unsigned long stack_policy_limit(const struct task_struct *tsk)
{
	return THREAD_SIZE;
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
static __always_inline bool stack_policy_page_fault(struct pt_regs *regs,
						    unsigned long error_code,
						    unsigned long address)
{
	return false;
}
static inline void stack_policy_switch_in(struct task_struct *next) { }
static inline bool stack_policy_wake(struct task_struct *tsk) { return false; }
static inline void stack_policy_prio_changed(struct task_struct *tsk) { }
static inline int stack_policy_freeze(struct task_struct *tsk) { return 0; }
static inline int stack_policy_thaw(struct task_struct *tsk) { return 0; }
static inline void *stack_policy_find_page(const struct page *page) { return NULL; }

#endif /* CONFIG_STACK_POLICY */

/* How @tsk sleeps, whether or not its stack was trimmed meanwhile. */
static inline unsigned int stack_policy_sleep_state(const struct task_struct *tsk)
{
	unsigned int state = READ_ONCE(tsk->__state);

	/* Woken, and waiting for its stack: it has not run yet. */
	return state & TASK_COLD ? READ_ONCE(tsk->saved_state) ?: TASK_INTERRUPTIBLE : state;
}

#ifdef CONFIG_STACK_POLICY_DUMP
/*
 * crash.c: the other CPUs have been told to stop, the crash kernel is next. Makes
 * each stack readable as a whole in the dump.
 */
void stack_policy_crash(void);
#else
static inline void stack_policy_crash(void) { }
#endif

#endif /* _LINUX_STACK_POLICY_H */

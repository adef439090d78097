/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Growth of kernel stacks, giving back, and changes of class. Sizes in bytes from the top of
 * the stack.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM stack_policy

#if !defined(_TRACE_STACK_POLICY_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_STACK_POLICY_H

#include <linux/kstack.h>
#include <linux/tracepoint.h>
#include <uapi/linux/stack_policy.h>

TRACE_DEFINE_ENUM(STACK_CLASS_TASK);
TRACE_DEFINE_ENUM(STACK_CLASS_KTHREAD);
TRACE_DEFINE_ENUM(STACK_CLASS_KTHREAD_BIG);
TRACE_DEFINE_ENUM(STACK_CLASS_KVM_VCPU);
TRACE_DEFINE_ENUM(STACK_CLASS_USER_WORKER);
TRACE_DEFINE_ENUM(STACK_CLASS_IRQ);
TRACE_DEFINE_ENUM(STACK_CLASS_TASK_BIG);

#define show_stack_class(class)						\
	__print_symbolic(class,						\
		{ STACK_CLASS_TASK,		"task" },		\
		{ STACK_CLASS_KTHREAD,		"kthread" },		\
		{ STACK_CLASS_KTHREAD_BIG,	"kthread-big" },	\
		{ STACK_CLASS_KVM_VCPU,		"kvm-vcpu" },		\
		{ STACK_CLASS_USER_WORKER,	"user-worker" },	\
		{ STACK_CLASS_IRQ,		"irq" },		\
		{ STACK_CLASS_TASK_BIG,		"task-big" })

/*
 * current asked for stack; @ret as stack_ensure() returns it. comm comes last, as
 * it can be anything.
 */
TRACE_EVENT(stack_grow,

	TP_PROTO(u8 class, size_t bytes, unsigned int from, unsigned int to, int ret,
		 unsigned long ip),

	TP_ARGS(class, bytes, from, to, ret, ip),

	TP_STRUCT__entry(
		__field(u8,		class)
		__field(unsigned int,	from)
		__field(unsigned int,	to)
		__field(int,		ret)
		__field(size_t,		bytes)
		__field(unsigned long,	ip)
		__array(char,		comm,	TASK_COMM_LEN)
	),

	TP_fast_assign(
		__entry->class	= class;
		__entry->from	= from;
		__entry->to	= to;
		__entry->ret	= ret;
		__entry->bytes	= bytes;
		__entry->ip	= ip;
		strscpy(__entry->comm, current->comm);
	),

	TP_printk("class=%s bytes=%zu from=%u to=%u ret=%d caller=%pS comm=%s",
		  show_stack_class(__entry->class), __entry->bytes, __entry->from,
		  __entry->to, __entry->ret, (void *)__entry->ip, __entry->comm)
);

/*
 * A stack overflowed in frames->ip[0] and has grown. Comes from an interrupt
 * soon after: @pid and @comm matter, not the task the event is recorded in.
 * frames and bytes: the backtrace, and what each function uses of the stack; instead of
 * an address 0 where it could not be unwound, 1 for left_out frames between the innermost
 * and the outermost ones, 2 for the registers of user mode.
 * vector: the interrupt that did not fit and was raised again, or -1.
 */
TRACE_EVENT(stack_fault,

	TP_PROTO(pid_t pid, const char *comm, u8 class, unsigned int from, unsigned int to,
		 unsigned int limit, int vector, const struct kstack_frames *frames),

	TP_ARGS(pid, comm, class, from, to, limit, vector, frames),

	TP_STRUCT__entry(
		__field(pid_t,		pid)
		__field(u8,		class)
		__field(unsigned int,	from)
		__field(unsigned int,	to)
		__field(unsigned int,	limit)
		__field(int,		vector)
		__field(unsigned int,	left_out)
		__field(unsigned long,	ip)
		__dynamic_array(unsigned long,	frames, frames->nr)
		__dynamic_array(u16,	bytes, frames->nr)
		__array(char,		comm,	TASK_COMM_LEN)
	),

	TP_fast_assign(
		__entry->pid	= pid;
		__entry->class	= class;
		__entry->from	= from;
		__entry->to	= to;
		__entry->limit	= limit;
		__entry->vector	= vector;
		__entry->left_out = frames->left_out;
		__entry->ip	= frames->ip[0];
		memcpy(__get_dynamic_array(frames), frames->ip,
		       frames->nr * sizeof(frames->ip[0]));
		memcpy(__get_dynamic_array(bytes), frames->bytes,
		       frames->nr * sizeof(frames->bytes[0]));
		strscpy(__entry->comm, comm);
	),

	TP_printk("pid=%d class=%s from=%u to=%u limit=%u vector=%d ip=%pS frames=%s bytes=%s left_out=%u comm=%s",
		  __entry->pid, show_stack_class(__entry->class), __entry->from,
		  __entry->to, __entry->limit, __entry->vector, (void *)__entry->ip,
		  __print_array(__get_dynamic_array(frames),
				__get_dynamic_array_len(frames) / sizeof(unsigned long),
				sizeof(unsigned long)),
		  __print_array(__get_dynamic_array(bytes),
				__get_dynamic_array_len(bytes) / sizeof(u16), sizeof(u16)),
		  __entry->left_out, __entry->comm)
);

/* current has joined class @to, with @mapped bytes of stack. */
TRACE_EVENT(stack_class_change,

	TP_PROTO(u8 from, u8 to, unsigned int mapped),

	TP_ARGS(from, to, mapped),

	TP_STRUCT__entry(
		__field(u8,		from)
		__field(u8,		to)
		__field(unsigned int,	mapped)
	),

	TP_fast_assign(
		__entry->from	= from;
		__entry->to	= to;
		__entry->mapped	= mapped;
	),

	TP_printk("from=%s to=%s mapped=%u", show_stack_class(__entry->from),
		  show_stack_class(__entry->to), __entry->mapped)
);

TRACE_DEFINE_ENUM(KSTACK_EXCESS);
TRACE_DEFINE_ENUM(KSTACK_COLD);

/*
 * @bytes of a stack were unmapped, @mapped are left. excess: by the thread
 * itself on its way to user mode; cold: because it sleeps.
 */
TRACE_EVENT(stack_trim,

	TP_PROTO(pid_t pid, u8 class, u8 what, unsigned int bytes, unsigned int mapped),

	TP_ARGS(pid, class, what, bytes, mapped),

	TP_STRUCT__entry(
		__field(pid_t,		pid)
		__field(u8,		class)
		__field(u8,		what)
		__field(unsigned int,	bytes)
		__field(unsigned int,	mapped)
	),

	TP_fast_assign(
		__entry->pid	= pid;
		__entry->class	= class;
		__entry->what	= what;
		__entry->bytes	= bytes;
		__entry->mapped	= mapped;
	),

	TP_printk("pid=%d class=%s what=%s bytes=%u mapped=%u", __entry->pid,
		  show_stack_class(__entry->class),
		  __print_symbolic(__entry->what, { KSTACK_EXCESS, "excess" },
				   { KSTACK_COLD, "cold" }),
		  __entry->bytes, __entry->mapped)
);

/* @bytes that @stacks had retained were freed after one flush of all TLBs. */
TRACE_EVENT(stack_reclaim,

	TP_PROTO(unsigned long stacks, unsigned long bytes),

	TP_ARGS(stacks, bytes),

	TP_STRUCT__entry(
		__field(unsigned long,	stacks)
		__field(unsigned long,	bytes)
	),

	TP_fast_assign(
		__entry->stacks	= stacks;
		__entry->bytes	= bytes;
	),

	TP_printk("stacks=%lu bytes=%lu", __entry->stacks, __entry->bytes)
);

/*
 * A cold thread was woken @usecs ago, and runs only now, as there was no memory for its
 * stack. @pid and @comm matter, not the task the event is recorded in.
 */
TRACE_EVENT(stack_late,

	TP_PROTO(pid_t pid, u8 class, u64 usecs, const char *comm),

	TP_ARGS(pid, class, usecs, comm),

	TP_STRUCT__entry(
		__field(pid_t,		pid)
		__field(u8,		class)
		__field(u64,		usecs)
		__array(char,		comm,	TASK_COMM_LEN)
	),

	TP_fast_assign(
		__entry->pid	= pid;
		__entry->class	= class;
		__entry->usecs	= usecs;
		strscpy(__entry->comm, comm);
	),

	TP_printk("pid=%d class=%s usecs=%llu comm=%s", __entry->pid,
		  show_stack_class(__entry->class), __entry->usecs, __entry->comm)
);

#endif /* _TRACE_STACK_POLICY_H */

/* This part must be outside protection */
#include <trace/define_trace.h>

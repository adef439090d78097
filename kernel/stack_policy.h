/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the policy (stack_policy.c) offers its neighbours: to the BPF maps
 * (stack_policy_map.c) rows of the table, through the same validation as the
 * sysctl, and sums of the counters; to BPF programs (stack_policy_kfunc.c) the
 * class of a thread; to the record (stack_policy_record.c) whether an overflow may
 * be survived; to the report (stack_policy_report.c) names. stack_policy_trim.c
 * gives it how deep the threads are, the record gives the report what to print.
 */
#ifndef _KERNEL_STACK_POLICY_H
#define _KERNEL_STACK_POLICY_H

#include <linux/fs.h>
#include <linux/kstack.h>
#include <linux/sched.h>
#include <uapi/linux/stack_policy.h>

const struct stack_policy_entry *stack_policy_row(enum stack_class class);
int stack_policy_set_row(enum stack_class class, const struct stack_policy_entry *row);
int stack_policy_want_class(struct task_struct *task, enum stack_class class);
void stack_policy_sum_stats(enum stack_class class, struct stack_policy_stats *sum);
bool stack_policy_always_full(void);
bool stack_policy_settle(struct task_struct *task);
const char *stack_policy_class_name(enum stack_class class);
void stack_policy_walk(void (*visit)(struct task_struct *task, struct kstack *ks));
void stack_policy_sum_depths(enum stack_class class, struct stack_policy_stats *sum);
unsigned int stack_policy_irq_used(unsigned int cpu);
extern const struct file_operations stack_policy_trim_fops;
bool stack_policy_is_deep(unsigned long bytes);
bool stack_policy_may_survive(void);

/* What is known of an overflow. */
struct overflow {
	char			comm[TASK_COMM_LEN];
	pid_t			pid;
	u8			class;
	unsigned int		from_bytes, to_bytes, limit_bytes;
	bool			deep;		/* a warning, not only an event */
	int			vector;
	struct kstack_frames	frames;
};

const struct overflow *stack_policy_next_overflow(unsigned int cpu);
void stack_policy_overflow_done(unsigned int cpu);
void stack_policy_count_overflows(unsigned int *survived, unsigned int *missed);

#endif /* _KERNEL_STACK_POLICY_H */

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the policy (stack_policy.c) offers its neighbours: to the BPF maps
 * (stack_policy_map.c) rows of the table, through the same validation as the
 * sysctl, and sums of the counters; to the report (stack_policy_report.c) names.
 * stack_policy_trim.c gives it how deep the threads are.
 */
#ifndef _KERNEL_STACK_POLICY_H
#define _KERNEL_STACK_POLICY_H

#include <linux/fs.h>
#include <uapi/linux/stack_policy.h>

const struct stack_policy_entry *stack_policy_row(enum stack_class class);
int stack_policy_set_row(enum stack_class class, const struct stack_policy_entry *row);
void stack_policy_sum_stats(enum stack_class class, struct stack_policy_stats *sum);
bool stack_policy_always_full(void);
const char *stack_policy_class_name(enum stack_class class);
void stack_policy_sum_depths(enum stack_class class, struct stack_policy_stats *sum);
extern const struct file_operations stack_policy_trim_fops;

#endif /* _KERNEL_STACK_POLICY_H */

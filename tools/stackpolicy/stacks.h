/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the running kernel says about its stacks: the table, the counters, the
 * threads. Knows the kernel's interfaces, prints nothing but errors.
 */
#ifndef _STACKPOLICY_STACKS_H
#define _STACKPOLICY_STACKS_H

#include <stdbool.h>
#include <sys/types.h>

#include "../../include/uapi/linux/stack_policy.h"

#define SPAN_KB		STACK_POLICY_DEPTHS	/* address space of a stack */
#define STOCK_KB	16			/* memory of a stack without the policy */
#define MAX_CLASSES	32			/* a later kernel may have more than we know */

struct stack_class_info {
	char				name[32];
	struct stack_policy_entry	entry;
	struct stack_policy_stats	stats;	/* what a kernel does not count yet is 0 */
};

struct stacks {
	unsigned int			nr;
	bool				has_stats;	/* root only */
	struct stack_class_info		class[MAX_CLASSES];
};

struct stack_thread {
	pid_t		pid, tid;
	char		comm[16];
	unsigned int	class;
	unsigned int	populate_kb, limit_kb, mapped_kb, high_water_bytes;
	unsigned int	grows_ensure, grows_fault, grows_fault_deep, grows_class;
	unsigned int	trims_excess, trims_cold;
};

struct stack_threads {
	size_t			nr, room;
	size_t			denied;		/* threads that are not ours to see */
	struct stack_thread	*thread;
};

/* Does the running kernel have the policy? If not, an error says how to get it. */
bool stacks_there(void);

/*
 * The table, and the counters if we may. Return: false after an error, which a
 * kernel without the policy is.
 */
bool stacks_read(struct stacks *s);

/* Index of class @name; -1 after an error that lists the names. */
int stacks_find(const struct stacks *s, const char *name);

/* An fd of the BPF map @name, or -errno; -ENOENT: there is none. */
int stacks_open_map(const char *name);

/* The name of the table in force; "custom" for one that has none. */
bool stacks_read_profile(char *name, size_t size);

/* Write @text to kernel.stack_policy. Return: 0 or -errno. */
int stacks_write_table(const char *text);

/*
 * All threads, or those of process @pid if it is not 0. Threads that exit
 * meanwhile are left out. Return: false after an error. Free with threads_free().
 */
bool threads_read(const struct stacks *s, pid_t pid, struct stack_threads *threads);
void threads_free(struct stack_threads *threads);

/* All growths of a thread. */
static inline unsigned int thread_grows(const struct stack_thread *t)
{
	return t->grows_ensure + t->grows_fault + t->grows_class;
}

#endif /* _STACKPOLICY_STACKS_H */

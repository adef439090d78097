/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who calls whom, and how much stack the caller has in use there: read from the
 * instructions of a vmlinux, its ORC tables and its types.
 */
#ifndef _STACKPOLICY_CALLS_H
#define _STACKPOLICY_CALLS_H

#include "types.h"
#include "vmlinux.h"

/* How the target of a call is known. */
enum call_how {
	CALL_DIRECT,	/* it is in the instruction */
	CALL_STATIC,	/* the pointer is a constant, or in memory with its first value */
	CALL_TYPE,	/* of a pointer only the prototype, or less: .pointer */
	CALL_UNKNOWN,
	CALL_NR_HOWS,
};

struct call {
	uint64_t	ip;
	uint32_t	caller;		/* number of a routine */
	uint32_t	callee;		/* the same, for CALL_DIRECT and CALL_STATIC */
	int32_t		bytes;		/* of stack from the caller's frame on to the callee's */
	uint8_t		how;
	bool		jump;		/* the caller's frame is gone */
	bool		exact;		/* .bytes are not only a bound */
	uint8_t		length;		/* of the instruction */
	uint32_t	prototype;	/* CALL_TYPE: what is called */
	struct pointer	in;		/* and what that was loaded from, or TO_UNKNOWN */
};

/* A function with all its parts. */
struct routine {
	const char	*name;
	uint64_t	start;
	uint32_t	prototype;	/* 0: unknown */
	int32_t		bytes;		/* its own frame at its largest, return address included */
	bool		dynamic;	/* and there is no bound for some part of it */
	bool		taken;		/* its address is somewhere in data or in code */
	bool		kthread;	/* passed to kthread_create() and the like */
	bool		noreturn;
	size_t		first_call, nr_calls;
};

struct calls {
	struct routine	*routines;	/* by address */
	size_t		nr_routines;
	struct call	*calls;		/* by caller, then address */
	size_t		nr_calls;
	uint32_t	*routine_of;	/* of each of the vmlinux's functions */
	size_t		nr_undecoded;	/* instructions */
};

/* Return: NULL without memory, after an error. */
struct calls *calls_read(const struct vmlinux *v, const struct types *t);
void calls_free(struct calls *c);

/* Number of the routine called @name, or -1. */
long calls_find(const struct calls *c, const char *name);

/* The call that returns to @address in @routine, or NULL. */
const struct call *calls_returning_to(const struct calls *c, uint32_t routine, uint64_t address);

#endif /* _STACKPOLICY_CALLS_H */

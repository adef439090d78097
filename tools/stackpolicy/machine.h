/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Runs x86-64 instructions in the abstract: what is known of registers and of
 * what was spilled, and how much stack is in use. Knows no functions and no flow.
 */
#ifndef _STACKPOLICY_MACHINE_H
#define _STACKPOLICY_MACHINE_H

#include <asm/insn.h>

#include "types.h"

#define NR_REGS		16
#define NR_SLOTS	24		/* spilled registers, of one function at a time */
#define MAX_BOUND	4096		/* of a number that bounds a dynamic frame */
#define MAX_FRAME	0x100000

enum reg { AX, CX, DX, BX, SP, BP, SI, DI, R8, R9, R10, R11, R12, R13, R14, R15, NO_REG };

/* What is known of a register. */
enum kind {
	UNKNOWN,	/* nothing */
	CONFLICT,	/* one thing here, another there */
	POINTER,	/* .p */
	CODE,		/* pointer to code: .p its prototype, .in what it was loaded from */
	NUMBER,		/* .num */
	BOUNDED,	/* at most .num */
	MEMORY,		/* what is in memory at .num */
	FRAME,		/* .num bytes below the frame's start */
};

struct value {
	enum kind	kind;
	struct pointer	p, in;
	int64_t		num;
};

struct slot {
	int32_t		at;		/* bytes below the frame's start; 0: free */
	struct value	value;
};

struct state {
	struct value	reg[NR_REGS];
	struct slot	slot[NR_SLOTS];
	int32_t		sp;		/* bytes of the frame in use */
	int32_t		kept_sp;	/* of the task's stack, while on another one */
	bool		elsewhere;	/* on another stack */
	bool		bounded;	/* sp is an upper bound */
	bool		dynamic;	/* sp is a lower bound */
};

struct machine {
	const struct types	*t;
	uint64_t		current_task;	/* per-CPU offset of the pointer, 0: unknown */
};

/* The address of a memory operand. */
struct operand {
	enum reg	base;		/* NO_REG: none */
	bool		indexed;
	bool		fixed;		/* only .disp, relative to nothing */
	int64_t		disp;
};

enum reg insn_rm(const struct insn *insn);
bool insn_is_reg(const struct insn *insn);
int64_t insn_immediate(const struct insn *insn);
struct operand insn_memory(const struct insn *insn, uint64_t ip);

/* The effect of @insn at @ip, unless it is a call or a jump. */
void machine_run(const struct machine *m, struct state *st, struct insn *insn, uint64_t ip);

/* What a load of 8 bytes by @insn finds. */
struct value machine_load(const struct machine *m, const struct state *st,
			  const struct insn *insn, uint64_t ip);

/* A call has returned a @result. */
void machine_return(struct state *st, struct pointer result);

/* The frame has @sp bytes from here on. */
void machine_set_sp(struct state *st, int64_t sp);

/* Two ways meet at @to, the other one knows @from. Return: true if @to knows less now. */
bool machine_meet(struct state *to, const struct state *from);

/* Nothing holds any more but how much stack is in use. */
void machine_give_up(struct state *st);

struct value value_of_pointer(struct pointer p, struct pointer in);

#endif /* _STACKPOLICY_MACHINE_H */

// SPDX-License-Identifier: GPL-2.0
/*
 * Of the instructions that GCC makes in a kernel those are known exactly that move
 * pointers and the stack pointer; what others change is forgotten.
 */
#include <stdlib.h>
#include <string.h>

#include "machine.h"
#include "main.h"

static unsigned int rex(const struct insn *insn)
{
	return insn->rex_prefix.nbytes ? insn->rex_prefix.bytes[0] : 0;
}

static enum reg modrm_reg(const struct insn *insn)
{
	return X86_MODRM_REG(insn->modrm.bytes[0]) | (X86_REX_R(rex(insn)) ? 8 : 0);
}

bool insn_is_reg(const struct insn *insn)
{
	return insn->modrm.nbytes && X86_MODRM_MOD(insn->modrm.bytes[0]) == 3;
}

enum reg insn_rm(const struct insn *insn)
{
	return X86_MODRM_RM(insn->modrm.bytes[0]) | (X86_REX_B(rex(insn)) ? 8 : 0);
}

static enum reg opcode_reg(const struct insn *insn)
{
	return (insn->opcode.bytes[0] & 7) | (X86_REX_B(rex(insn)) ? 8 : 0);
}

static bool has_prefix(const struct insn *insn, insn_byte_t prefix)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		if (insn->prefixes.bytes[i] == prefix)
			return true;
	return false;
}

struct operand insn_memory(const struct insn *insn, uint64_t ip)
{
	unsigned int mod = X86_MODRM_MOD(insn->modrm.bytes[0]);
	unsigned int rm = X86_MODRM_RM(insn->modrm.bytes[0]);
	struct operand o = { .base = NO_REG, .disp = insn->displacement.nbytes ?
			     insn->displacement.value : 0 };

	if (insn->displacement.nbytes == 1)
		o.disp = (int8_t)insn->displacement.value;
	if (rm == 4 && insn->sib.nbytes) {
		unsigned int base = insn->sib.bytes[0] & 7;
		unsigned int index = (insn->sib.bytes[0] >> 3 & 7) | (X86_REX_X(rex(insn)) ? 8 : 0);

		o.indexed = index != 4;
		if (base == 5 && !mod)
			o.fixed = !o.indexed;
		else
			o.base = base | (X86_REX_B(rex(insn)) ? 8 : 0);
	} else if (rm == 5 && !mod) {
		o.disp += ip + insn->length;
		o.fixed = true;
	} else {
		o.base = insn_rm(insn);
	}
	return o;
}

/* Where a memory operand lies in the frame, in bytes below its start; 0: not there. */
static int32_t frame_offset(const struct state *st, struct operand o)
{
	int64_t at = 0;

	if (o.indexed || o.base == NO_REG)
		return 0;
	if (o.base == SP && !st->elsewhere)
		at = st->sp - o.disp;
	else if (st->reg[o.base].kind == FRAME)
		at = st->reg[o.base].num - o.disp;
	return at > 0 && at < MAX_FRAME ? at : 0;
}

static void set(struct state *st, enum reg reg, struct value value)
{
	if (reg < NR_REGS && reg != SP)
		st->reg[reg] = value;
}

static void forget(struct state *st, enum reg reg)
{
	set(st, reg, (struct value){});
}

static struct value number(int64_t num)
{
	return (struct value){ .kind = NUMBER, .num = num };
}

static void store_slot(struct state *st, int32_t at, struct value value)
{
	struct slot *free_slot = NULL;
	int i;

	for (i = 0; at && i < NR_SLOTS; i++) {
		if (!st->slot[i].at)
			free_slot = &st->slot[i];
		/* What overlaps is gone. */
		else if (st->slot[i].at > at - 8 && st->slot[i].at < at + 8) {
			st->slot[i] = (struct slot){};
			free_slot = &st->slot[i];
		}
	}
	if (free_slot && value.kind != UNKNOWN)
		*free_slot = (struct slot){ at, value };
}

static struct value load_slot(const struct state *st, int32_t at)
{
	int i;

	for (i = 0; at && i < NR_SLOTS; i++)
		if (st->slot[i].at == at)
			return st->slot[i].value;
	return (struct value){};
}

struct value value_of_pointer(struct pointer p, struct pointer in)
{
	if (p.to == TO_DATA)
		return (struct value){ .kind = POINTER, .p = p };
	if (p.to == TO_CODE)
		return (struct value){ .kind = CODE, .p = p, .in = in };
	return (struct value){};
}

/* What a load of 8 bytes finds. */
struct value machine_load(const struct machine *m, const struct state *st,
			  const struct insn *insn, uint64_t ip)
{
	struct operand o = insn_memory(insn, ip);
	int32_t at = frame_offset(st, o);

	if (at)
		return load_slot(st, at);
	if (o.fixed && has_prefix(insn, 0x65)) {
		if (m->current_task && (uint64_t)o.disp == m->current_task)
			return value_of_pointer(types_to_struct(m->t, "task_struct"),
					    (struct pointer){});
		return (struct value){};
	}
	if (o.fixed && !o.indexed)
		return (struct value){ .kind = MEMORY, .num = o.disp };
	if (!o.indexed && o.base < NR_REGS && st->reg[o.base].kind == POINTER) {
		struct pointer p = st->reg[o.base].p, in = p;

		in.offset += o.disp;
		return value_of_pointer(types_load(m->t, p, o.disp), in);
	}
	/* A constant address plus a constant: a field of a global. */
	if (!o.indexed && o.base < NR_REGS && st->reg[o.base].kind == NUMBER)
		return (struct value){ .kind = MEMORY, .num = st->reg[o.base].num + o.disp };
	return (struct value){};
}

void machine_set_sp(struct state *st, int64_t sp)
{
	st->sp = sp < 0 ? 0 : sp > MAX_FRAME ? MAX_FRAME : sp;
	if (sp < 0 || sp > MAX_FRAME)
		st->dynamic = true;
}

/* The stack pointer becomes what register @from is. */
static void move_to_sp(struct state *st, const struct value *from)
{
	if (from->kind == FRAME) {
		machine_set_sp(st, from->num);
		st->elsewhere = false;
		st->bounded = false;
		st->dynamic = false;
	} else if (!st->elsewhere) {
		st->kept_sp = st->sp;
		st->elsewhere = true;
	}
}

/* Wraps as the machine does. */
static struct value plus(struct value value, int64_t n)
{
	int64_t sum;

	if (value.kind == POINTER) {
		if (!__builtin_add_overflow(value.p.offset, n, &value.p.offset))
			return value;
	} else if (value.kind == NUMBER) {
		value.num = (uint64_t)value.num + n;
		return value;
	} else if (value.kind == BOUNDED) {
		if (n >= 0 && n <= MAX_BOUND && value.num + n <= MAX_BOUND) {
			value.num += n;
			return value;
		}
	} else if (value.kind == FRAME) {
		if (!__builtin_sub_overflow(value.num, n, &sum)) {
			value.num = sum;
			return value;
		}
	}
	return (struct value){};
}

int64_t insn_immediate(const struct insn *insn)
{
	if (insn->immediate.nbytes == 1)
		return (int8_t)insn->immediate.value;
	if (insn->immediate.nbytes == 2)
		return (int16_t)insn->immediate.value;
	return (int32_t)insn->immediate.value;
}

/* By so much at most. */
static void shrink_to(struct state *st, int64_t sp)
{
	machine_set_sp(st, sp);
	st->bounded = true;
}

/* No bit that is not in the mask, nor more than there was. */
static struct value masked(struct value value, int64_t mask)
{
	int64_t bits = 1;

	if (mask < 0 || mask > MAX_BOUND)
		return (struct value){};
	if (value.kind == BOUNDED && value.num < mask) {
		while (bits <= value.num)
			bits *= 2;
		mask &= bits - 1;
	}
	return (struct value){ .kind = BOUNDED, .num = mask };
}

/* add, or, adc, sbb, and, sub, xor, cmp of an immediate with a register. */
static void group1(struct state *st, const struct insn *insn)
{
	unsigned int op = X86_MODRM_REG(insn->modrm.bytes[0]);
	enum reg rm = insn_rm(insn);
	int64_t imm = insn_immediate(insn);
	struct value value = st->reg[rm];

	if (op == 7)
		return;
	if (rm == SP) {
		if (op == 5 || op == 0)
			machine_set_sp(st, st->sp + (op == 5 ? imm : -imm));
		else if (op == 4 && imm < 0)
			/* To a multiple of -imm: what it costs is not known before. */
			shrink_to(st, st->sp - imm - 8);
		return;
	}
	if (op == 0 || op == 5)
		set(st, rm, plus(value, op == 0 ? imm : -imm));
	else if (op == 4)
		set(st, rm, masked(value, imm));
	else
		forget(st, rm);
}

/* sub %reg, %rsp: a frame of a size that is computed. */
static void shrink_sp(struct state *st, const struct value *by)
{
	if ((by->kind == BOUNDED || by->kind == NUMBER) && by->num >= 0 && by->num <= MAX_BOUND)
		shrink_to(st, st->sp + by->num);
	else
		st->dynamic = true;
}

static void move_register(struct state *st, enum reg to, enum reg from, bool wide)
{
	if (to == SP)
		move_to_sp(st, &st->reg[from]);
	else if (from == SP)
		set(st, to, st->elsewhere ? (struct value){} :
		    (struct value){ .kind = FRAME, .num = st->sp });
	else
		set(st, to, wide || st->reg[from].kind == BOUNDED ? st->reg[from] :
		    (struct value){});
}

static void run_lea(struct state *st, const struct insn *insn, uint64_t ip)
{
	struct operand o = insn_memory(insn, ip);
	enum reg to = modrm_reg(insn);
	int32_t at = frame_offset(st, o);

	if (to == SP)
		move_to_sp(st, &(struct value){ .kind = at ? FRAME : UNKNOWN, .num = at });
	else if (!X86_REX_W(rex(insn)) || o.indexed || (o.base == NO_REG && !o.fixed))
		forget(st, to);
	else if (o.fixed)
		set(st, to, number(o.disp));
	else if (o.base == SP)
		set(st, to, (struct value){ .kind = at ? FRAME : UNKNOWN, .num = at });
	else
		set(st, to, plus(st->reg[o.base], o.disp));
}

/* Something is computed into memory: what a spilled register was it is no more. */
static void change_memory(struct state *st, const struct insn *insn, uint64_t ip)
{
	store_slot(st, frame_offset(st, insn_memory(insn, ip)), (struct value){});
}

/* mov and lea. Return: true if it was one. */
static bool run_move(const struct machine *m, struct state *st, const struct insn *insn,
		     uint64_t ip)
{
	unsigned int op = insn->opcode.bytes[0];
	bool wide = X86_REX_W(rex(insn)), in_reg = insn_is_reg(insn);

	switch (op) {
	case 0x88:
	case 0xc6:				/* of a byte, to rm */
		if (in_reg)
			forget(st, insn_rm(insn));
		else
			change_memory(st, insn, ip);
		return true;
	case 0x89:				/* reg to rm */
		if (in_reg)
			move_register(st, insn_rm(insn), modrm_reg(insn), wide);
		else
			store_slot(st, frame_offset(st, insn_memory(insn, ip)), wide ?
				   st->reg[modrm_reg(insn)] : (struct value){});
		return true;
	case 0x8b:				/* rm to reg */
		if (in_reg)
			move_register(st, modrm_reg(insn), insn_rm(insn), wide);
		else if (modrm_reg(insn) == SP)
			move_to_sp(st, &(struct value){});
		else
			set(st, modrm_reg(insn), wide ? machine_load(m, st, insn, ip) :
			    (struct value){});
		return true;
	case 0x8d:				/* lea */
		run_lea(st, insn, ip);
		return true;
	case 0xb8 ... 0xbf:			/* immediate to reg */
		set(st, opcode_reg(insn), number(insn->immediate2.nbytes ?
		    (int64_t)((uint64_t)(uint32_t)insn->immediate2.value << 32 |
			      (uint32_t)insn->immediate1.value) :
		    (int64_t)(uint32_t)insn->immediate.value));
		return true;
	case 0xc7:				/* immediate to rm */
		if (in_reg)
			set(st, insn_rm(insn), number(wide ? insn_immediate(insn) :
						      (uint32_t)insn_immediate(insn)));
		else
			store_slot(st, frame_offset(st, insn_memory(insn, ip)), wide ?
				   number(insn_immediate(insn)) : (struct value){});
		return true;
	}
	return false;
}

/* push, pop, leave. Return: true if it was one. */
static bool run_stack(struct state *st, const struct insn *insn)
{
	unsigned int op = insn->opcode.bytes[0];

	switch (op) {
	case 0x50 ... 0x57:			/* push reg */
		machine_set_sp(st, st->sp + 8);
		if (!st->elsewhere)
			store_slot(st, st->sp, opcode_reg(insn) == SP ? (struct value){} :
				   st->reg[opcode_reg(insn)]);
		return true;
	case 0x58 ... 0x5f:			/* pop reg */
		if (opcode_reg(insn) == SP) {
			/* Back from an interrupt's stack. */
			if (st->elsewhere)
				machine_set_sp(st, st->kept_sp);
			st->elsewhere = false;
			return true;
		}
		set(st, opcode_reg(insn), st->elsewhere ? (struct value){} :
		    load_slot(st, st->sp));
		machine_set_sp(st, (int64_t)st->sp - 8);
		return true;
	case 0x68:
	case 0x6a:
	case 0x9c:				/* push immediate, pushf */
		machine_set_sp(st, st->sp + 8);
		return true;
	case 0xff:
		if (X86_MODRM_REG(insn->modrm.bytes[0]) != 6)
			return false;
		machine_set_sp(st, st->sp + 8);	/* push rm */
		return true;
	case 0x8f:				/* pop rm */
		if (insn_is_reg(insn))
			forget(st, insn_rm(insn));
		machine_set_sp(st, (int64_t)st->sp - 8);
		return true;
	case 0x9d:				/* popf */
		machine_set_sp(st, (int64_t)st->sp - 8);
		return true;
	case 0xc9:				/* leave */
		move_to_sp(st, &st->reg[BP]);
		set(st, BP, load_slot(st, st->sp));
		machine_set_sp(st, (int64_t)st->sp - 8);
		return true;
	}
	return false;
}

/* Computed into rm. */
static void change_rm(struct state *st, const struct insn *insn, uint64_t ip)
{
	if (insn_is_reg(insn))
		forget(st, insn_rm(insn));
	else
		change_memory(st, insn, ip);
}

/* sub and xor of registers, whose results can be known. Return: true if it was one. */
static bool run_subtraction(struct state *st, const struct insn *insn)
{
	unsigned int op = insn->opcode.bytes[0];
	enum reg reg = modrm_reg(insn), rm = insn_rm(insn);

	if (!insn_is_reg(insn))
		return false;
	if ((op == 0x29 && rm == SP) || (op == 0x2b && reg == SP)) {
		shrink_sp(st, &st->reg[op == 0x29 ? reg : rm]);
		return true;
	}
	if ((op == 0x31 || op == 0x33) && reg == rm) {
		set(st, reg, number(0));
		return true;
	}
	return false;
}

/* Arithmetic. Return: true if it was some that is known here. */
static bool run_arithmetic(struct state *st, const struct insn *insn, uint64_t ip)
{
	unsigned int op = insn->opcode.bytes[0], group = X86_MODRM_REG(insn->modrm.bytes[0]);

	if (run_subtraction(st, insn))
		return true;
	switch (op) {
	case 0x38 ... 0x3d:
	case 0x84:
	case 0x85:
	case 0xa8:
	case 0xa9:				/* cmp, test */
		return true;
	case 0x80:
	case 0x81:
	case 0x83:				/* an immediate and rm */
		if (group == 7)
			return true;
		if (op != 0x80 && insn_is_reg(insn))
			group1(st, insn);
		else
			change_rm(st, insn, ip);
		return true;
	case 0x25:				/* and immediate, %eax */
		set(st, AX, masked(st->reg[AX], insn_immediate(insn)));
		return true;
	case 0x63:
	case 0x69:
	case 0x6b:
	case 0x8a:				/* movsxd, imul, mov of a byte: to reg */
		forget(st, modrm_reg(insn));
		return true;
	case 0x86:
	case 0x87:				/* xchg */
		forget(st, modrm_reg(insn));
		change_rm(st, insn, ip);
		return true;
	case 0x98:
	case 0x99:				/* cltq, cqto */
		forget(st, op == 0x98 ? AX : DX);
		return true;
	case 0xc0:
	case 0xc1:
	case 0xd0 ... 0xd3:			/* shifts */
		change_rm(st, insn, ip);
		return true;
	case 0xf6:
	case 0xf7:
		if (group >= 4) {		/* mul, div */
			forget(st, AX);
			forget(st, DX);
		} else if (group >= 2) {	/* not, neg; test before them */
			change_rm(st, insn, ip);
		}
		return true;
	case 0xfe:
	case 0xff:				/* inc, dec */
		change_rm(st, insn, ip);
		return true;
	case 0xa4 ... 0xa7:
	case 0xaa ... 0xaf:			/* of strings */
		forget(st, AX);
		forget(st, CX);
		forget(st, SI);
		forget(st, DI);
		return true;
	}
	/* add, or, adc, sbb, and, sub, xor: to rm, to reg, to %eax */
	if (op >= 0x40 || (op & 7) >= 6)
		return false;
	if ((op & 7) < 2)
		change_rm(st, insn, ip);
	else
		forget(st, (op & 7) < 4 ? modrm_reg(insn) : AX);
	return true;
}

static bool run_two_bytes(struct state *st, const struct insn *insn, uint64_t ip)
{
	unsigned int op = insn->opcode.bytes[1];

	switch (op) {
	case 0x1f:
	case 0x1e:
	case 0x0b:
	case 0x18:
	case 0x0d:
	case 0xa3:
	case 0xae:				/* nop, endbr, ud2, prefetch, bt, fences */
	case 0x10 ... 0x17:
	case 0x28:
	case 0x29:
	case 0x6f:
	case 0x7f:
	case 0xef:				/* of vectors */
	case 0x30:				/* wrmsr */
		return true;
	case 0x40 ... 0x4f:			/* cmov: one of the two */
	case 0xb7 ... 0xb8:
	case 0xbc ... 0xbf:
	case 0xaf:				/* movzx, popcnt, bsf, bsr, movsx, imul */
		forget(st, modrm_reg(insn));
		return true;
	case 0xb6:				/* movzx of a byte */
		set(st, modrm_reg(insn), (struct value){ .kind = BOUNDED, .num = 255 });
		return true;
	case 0xb0:
	case 0xb1:				/* cmpxchg */
		forget(st, AX);
		change_rm(st, insn, ip);
		return true;
	case 0xc0:
	case 0xc1:				/* xadd */
		forget(st, modrm_reg(insn));
		change_rm(st, insn, ip);
		return true;
	case 0x90 ... 0x9f:
	case 0xa4:
	case 0xa5:
	case 0xab ... 0xad:
	case 0xb3:
	case 0xba:
	case 0xbb:				/* setcc, double shifts, bit tests that change */
		change_rm(st, insn, ip);
		return true;
	case 0xc8 ... 0xcf:			/* bswap */
		forget(st, (op & 7) | (X86_REX_B(rex(insn)) ? 8 : 0));
		return true;
	case 0x31:
	case 0x32:				/* rdtsc, rdmsr */
		forget(st, AX);
		forget(st, DX);
		return true;
	}
	return false;
}

/* What no case above knows writes to any register it names, and to the implicit ones. */
static void run_other(struct state *st, const struct insn *insn)
{
	forget(st, AX);
	forget(st, BX);
	forget(st, CX);
	forget(st, DX);
	if (insn->modrm.nbytes) {
		forget(st, modrm_reg(insn));
		if (insn_is_reg(insn))
			forget(st, insn_rm(insn));
	} else {
		forget(st, opcode_reg(insn));
	}
}

/* ret, nop, hlt, cli, sti, ...: nothing to a register. */
static bool changes_nothing(unsigned int op)
{
	return op == 0x90 || op == 0xc3 || op == 0xcc || op == 0xf4 || (op >= 0xfa && op <= 0xfd);
}

void machine_run(const struct machine *m, struct state *st, struct insn *insn, uint64_t ip)
{
	unsigned int op = insn->opcode.bytes[0];

	if (insn_is_avx(insn)) {
		if (insn->modrm.nbytes)
			forget(st, modrm_reg(insn));
	} else if (insn->opcode.nbytes == 1) {
		if (!changes_nothing(op) && !run_move(m, st, insn, ip) &&
		    !run_stack(st, insn) && !run_arithmetic(st, insn, ip))
			run_other(st, insn);
	} else if (op != 0x0f || insn->opcode.nbytes != 2 || !run_two_bytes(st, insn, ip)) {
		run_other(st, insn);
	}
}

void machine_return(struct state *st, struct pointer result)
{
	static const enum reg regs[] = { AX, CX, DX, SI, DI, R8, R9, R10, R11 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(regs); i++)
		forget(st, regs[i]);
	set(st, AX, value_of_pointer(result, (struct pointer){}));
}

void machine_give_up(struct state *st)
{
	unsigned int i;

	for (i = 0; i < NR_REGS; i++)
		st->reg[i] = (struct value){ .kind = CONFLICT };
	memset(st->slot, 0, sizeof(st->slot));
}

static bool same_pointer(struct pointer a, struct pointer b)
{
	return a.to == b.to && a.id == b.id && a.offset == b.offset;
}

static bool same_value(const struct value *a, const struct value *b)
{
	return a->kind == b->kind && a->num == b->num && same_pointer(a->p, b->p) &&
		same_pointer(a->in, b->in);
}

/*
 * What holds whichever of the two it is. A register that is used after two ways
 * have met holds one and the same C variable on both, so a type that is known on
 * one way is its type on the other. A value is not.
 */
static struct value meet_value(struct value a, struct value b)
{
	bool bounds = (a.kind == BOUNDED || a.kind == NUMBER) && a.num >= 0 && a.num <= MAX_BOUND &&
		(b.kind == BOUNDED || b.kind == NUMBER) && b.num >= 0 && b.num <= MAX_BOUND;

	if (same_value(&a, &b))
		return a;
	if (bounds)
		return (struct value){ .kind = BOUNDED, .num = a.num > b.num ? a.num : b.num };
	/* A null pointer is not called. */
	if (a.kind == NUMBER && !a.num && (b.kind == POINTER || b.kind == CODE))
		return b;
	if (b.kind == NUMBER && !b.num && (a.kind == POINTER || a.kind == CODE))
		return a;
	if (a.kind == UNKNOWN && (b.kind == POINTER || b.kind == CODE || b.kind == UNKNOWN))
		return b;
	if (b.kind == UNKNOWN && (a.kind == POINTER || a.kind == CODE))
		return a;
	return (struct value){ .kind = CONFLICT };
}

/* Return: true if @to knows less than before. */
bool machine_meet(struct state *to, const struct state *from)
{
	struct state old = *to;
	int i;

	for (i = 0; i < NR_REGS; i++)
		to->reg[i] = meet_value(to->reg[i], from->reg[i]);
	for (i = 0; i < NR_SLOTS; i++) {
		struct slot *slot = &to->slot[i];

		if (!slot->at)
			continue;
		slot->value = meet_value(slot->value, load_slot(from, slot->at));
		if (slot->value.kind == CONFLICT)
			*slot = (struct slot){};
	}
	if (from->sp > to->sp)
		to->sp = from->sp;
	to->bounded |= from->bounded || from->sp != old.sp;
	to->dynamic |= from->dynamic;
	to->elsewhere |= from->elsewhere;
	if (from->kept_sp > to->kept_sp)
		to->kept_sp = from->kept_sp;
	return memcmp(&old, to, sizeof(old));
}

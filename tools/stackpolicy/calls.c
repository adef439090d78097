// SPDX-License-Identifier: GPL-2.0
/*
 * Each function is run in the abstract, every block of it with what holds whatever
 * way leads there, until nothing changes any more. Where ORC tells the stack
 * pointer's distance from the frame's start, that is taken; where it refers to RBP,
 * because the frame has no fixed size, the stack pointer is followed.
 */
#include <stdlib.h>
#include <string.h>

#include <asm/orc_types.h>

#include "calls.h"
#include "machine.h"
#include "main.h"

#define MAX_VISITS	30		/* of one block, until nothing is known there */
#define MAX_SIZE	0x100000	/* of a function */

/* An instruction, and what is known when it is reached, if it starts a block. */
struct step {
	struct insn	insn;
	struct state	*state;
	uint16_t	visits;
	bool		leader, reached, pending;
};

struct reader {
	const struct vmlinux	*v;
	const struct types	*t;
	struct calls		*c;
	size_t			room;		/* for calls */
	struct machine		m;

	/* Of the function at hand: */
	const struct function	*f;
	uint32_t		routine;
	struct step		*steps;
	size_t			nr_steps, steps_room;
	int32_t			*step_at;	/* by offset, -1: within an instruction */
	size_t			step_at_room;
	size_t			orc;		/* index of the entry last used */
	int32_t			cold_sp;	/* where a cold part may begin */
	uint8_t			length;		/* of the instruction at hand */
	bool			emit, no_memory;
};

static const char * const noreturns[] = {
#define NORETURN(name)	#name,
#include "../objtool/noreturns.h"
#undef NORETURN
};

/* Who is given a function for a new kernel thread, and in which parameter. */
static const struct {
	const char	*name;
	enum reg	reg;
} kthread_makers[] = {
	{ "kthread_create_on_node", DI }, { "kthread_create_on_cpu", DI },
	{ "kthread_create_flags_on_node", DI }, { "kernel_thread", DI },
	{ "user_mode_thread", DI }, { "create_io_thread", DI }, { "vhost_task_create", DI },
	{ "__kthread_create_on_node", DI },
};

static uint64_t address_of(const struct reader *r, const struct step *s)
{
	return r->f->start + (s->insn.kaddr - r->steps[0].insn.kaddr);
}

static void apply_orc(struct reader *r, struct state *st, uint64_t address)
{
	const struct vmlinux *v = r->v;
	const struct orc_entry *orc;

	while (r->orc + 1 < v->nr_orc &&
	       v->orc_ip_address + 4 * (r->orc + 1) + v->orc_ip[r->orc + 1] <= address)
		r->orc++;
	orc = &v->orc[r->orc];
	if (orc->type == ORC_TYPE_CALL && orc->sp_reg == ORC_REG_SP) {
		machine_set_sp(st, orc->sp_offset);
		st->elsewhere = false;
		st->bounded = false;
		st->dynamic = false;
	}
}

/* Calls */

/* The routine that a pointer in memory at @address leads to when the kernel starts. */
static uint32_t routine_in_memory(const struct reader *r, uint64_t address)
{
	const uint64_t *target = vmlinux_bytes(r->v, address, sizeof(*target));
	struct function *f = NULL;
	uint64_t value;

	if (target) {
		memcpy(&value, target, sizeof(value));
		f = vmlinux_function_at(r->v, value);
		if (f && f->start != value)
			f = NULL;
	}
	return f ? r->c->routine_of[f - r->v->functions] : UINT32_MAX;
}

static void add_call(struct reader *r, const struct call *call)
{
	struct calls *c = r->c;

	if (c->nr_calls == r->room) {
		size_t room = r->room * 2 + 65536;
		void *more = reallocarray(c->calls, room, sizeof(*c->calls));

		if (!more) {
			r->no_memory = true;
			return;
		}
		c->calls = more;
		r->room = room;
	}
	c->calls[c->nr_calls++] = *call;
}

/* Bytes between the two frames when @target is reached with @st's stack pointer. */
static int32_t bytes_to(const struct reader *r, const struct state *st, uint64_t target, bool jump)
{
	const struct orc_entry *orc;
	int32_t bytes = st->elsewhere ? st->kept_sp : st->sp;

	if (!jump)
		return bytes;
	/* The callee's frame begins where this one did, or in a part of it. */
	orc = vmlinux_orc(r->v, target);
	bytes -= orc && orc->type == ORC_TYPE_CALL && orc->sp_reg == ORC_REG_SP ?
		orc->sp_offset : 8;
	return bytes > 0 ? bytes : 0;
}

static void note_kthread(struct reader *r, const struct state *st, const char *callee)
{
	struct function *f;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kthread_makers); i++) {
		const struct value *value = &st->reg[kthread_makers[i].reg];

		if (value->kind != NUMBER || strcmp(callee, kthread_makers[i].name))
			continue;
		f = vmlinux_function_at(r->v, value->num);
		if (f && f->start == (uint64_t)value->num)
			r->c->routines[r->c->routine_of[f - r->v->functions]].kthread = true;
	}
}

/* Through a pointer: @value is what is known of it. */
static void indirect_call(struct reader *r, const struct state *st, uint64_t ip,
			  struct value value, bool jump)
{
	struct call call = { .ip = ip, .caller = r->routine, .callee = UINT32_MAX,
			     .how = CALL_UNKNOWN, .jump = jump, .length = r->length,
			     .exact = !st->bounded && !st->dynamic };

	/* On an interrupt stack it is none of this stack's business. */
	if (st->elsewhere)
		return;
	call.bytes = jump ? (st->sp > 8 ? st->sp - 8 : 0) : st->sp;
	if (value.kind == NUMBER) {
		struct function *f = vmlinux_function_at(r->v, value.num);

		if (f)
			call.callee = r->c->routine_of[f - r->v->functions];
	} else if (value.kind == MEMORY) {
		call.callee = routine_in_memory(r, value.num);
	} else if (value.kind == CODE && value.p.id) {
		call.how = CALL_TYPE;
		call.prototype = value.p.id;
		call.in = value.in;
	}
	if (call.callee != UINT32_MAX)
		call.how = CALL_STATIC;
	add_call(r, &call);
}

/* Registers of __x86_indirect_thunk_rax and its kin; NO_REG: another function. */
static enum reg thunk_register(const char *name)
{
	static const char * const names[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi",
		"rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };
	const char *last = strrchr(name, '_');
	unsigned int i;

	if (strncmp(name, "__x86_indirect_", 15) || !last)
		return NO_REG;
	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(last + 1, names[i]))
			return i;
	return NO_REG;
}

/* call or jmp to @target in another function. Return: false if nothing comes after it. */
static bool direct_call(struct reader *r, struct state *st, uint64_t ip, uint64_t target, bool jump)
{
	struct function *f = vmlinux_function_at(r->v, target);
	struct call call = { .ip = ip, .caller = r->routine, .how = CALL_DIRECT, .jump = jump,
			     .length = r->length, .exact = !st->bounded && !st->dynamic };
	const struct routine *callee;
	enum reg thunk;

	if (!f)
		return true;
	call.callee = r->c->routine_of[f - r->v->functions];
	callee = &r->c->routines[call.callee];
	thunk = thunk_register(f->name);
	if (thunk != NO_REG) {
		if (r->emit)
			indirect_call(r, st, ip, st->reg[thunk], jump);
		return true;
	}
	/* The tracer's hook is a nop unless somebody traces, and keeps all registers. */
	if (!strcmp(f->name, "__fentry__") || !strcmp(f->name, "__x86_return_thunk"))
		return true;
	if (r->emit && !st->elsewhere &&
	    (call.callee != r->routine || target == f->start)) {
		call.bytes = bytes_to(r, st, target, jump);
		add_call(r, &call);
		note_kthread(r, st, callee->name);
	}
	if (!jump)
		machine_return(st, types_prototype(r->t, callee->prototype)->result);
	return !callee->noreturn;
}

/* call *rm or jmp *rm */
static void indirect(struct reader *r, struct state *st, const struct step *s, bool jump)
{
	struct value value;
	uint32_t prototype;

	if (insn_is_reg(&s->insn)) {
		value = st->reg[insn_rm(&s->insn)];
	} else {
		/* A table of jumps within the function is no call. */
		if (jump && insn_memory(&s->insn, address_of(r, s)).indexed)
			return;
		value = machine_load(&r->m, st, &s->insn, address_of(r, s));
	}
	if (r->emit)
		indirect_call(r, st, address_of(r, s), value, jump);
	prototype = value.kind == CODE ? value.p.id : 0;
	if (!jump)
		machine_return(st, types_prototype(r->t, prototype)->result);
}

/* A constant that is a function's address may be called by whoever it is given to. */
static void note_taken(struct reader *r, uint64_t address)
{
	struct function *f = vmlinux_function_at(r->v, address);

	if (f && f->start == address)
		r->c->routines[r->c->routine_of[f - r->v->functions]].taken = true;
}

static void note_constants(struct reader *r, const struct step *s)
{
	const struct insn *insn = &s->insn;
	unsigned int op = insn->opcode.bytes[0];

	if (insn->opcode.nbytes == 1 && op == 0x8d && !insn_is_reg(insn)) {
		struct operand o = insn_memory(&s->insn, address_of(r, s));

		if (o.fixed)
			note_taken(r, o.disp);
	} else if (insn->immediate2.nbytes) {
		note_taken(r, (uint64_t)(uint32_t)insn->immediate2.value << 32 |
			   (uint32_t)insn->immediate1.value);
	} else if (insn->immediate.nbytes == 4 && insn->opcode.nbytes == 1 &&
		   op != 0xe8 && op != 0xe9) {
		note_taken(r, (int64_t)(int32_t)insn->immediate.value);
	}
}

/* Flow */

static void flow_to(struct reader *r, size_t step, const struct state *st)
{
	struct step *s = &r->steps[step];

	if (r->emit)
		return;
	if (!s->state) {
		s->state = malloc(sizeof(*s->state));
		if (!s->state) {
			r->no_memory = true;
			return;
		}
		*s->state = *st;
		s->pending = true;
		return;
	}
	if (!machine_meet(s->state, st))
		return;
	if (++s->visits > MAX_VISITS) {
		/* Does not settle: a pointer that walks, or a stack that grows in a loop. */
		machine_give_up(s->state);
		if (s->visits > 2 * MAX_VISITS) {
			s->state->dynamic = true;
			return;
		}
	}
	s->pending = true;
}

static long step_of(const struct reader *r, uint64_t address)
{
	if (address < r->f->start || address >= r->f->end)
		return -1;
	return r->step_at[address - r->f->start];
}

/* jmp, jcc. Return: false if nothing comes after it. */
static bool jump(struct reader *r, struct state *st, const struct step *s, bool conditional)
{
	uint64_t ip = address_of(r, s);
	uint64_t target = ip + s->insn.length + insn_immediate(&s->insn);
	long step = step_of(r, target);

	if (step >= 0)
		flow_to(r, step, st);
	else if (target < r->f->start || target >= r->f->end)
		direct_call(r, st, ip, target, true);
	return conditional;
}

/* jmp or jcc to a place that is in the instruction. */
static bool is_jump(const struct insn *insn)
{
	unsigned int op = insn->opcode.bytes[0];

	if (insn->opcode.nbytes == 1)
		return op == 0xe9 || op == 0xeb || (op >= 0x70 && op <= 0x7f);
	return insn->opcode.nbytes == 2 && op == 0x0f && insn->opcode.bytes[1] >= 0x80 &&
		insn->opcode.bytes[1] <= 0x8f;
}

/* ret, iret; syscall, sysret, sysexit: what follows is another matter. */
static bool ends(const struct insn *insn)
{
	unsigned int op = insn->opcode.bytes[0], op2 = insn->opcode.bytes[1];

	if (insn->opcode.nbytes == 1)
		return op == 0xc3 || op == 0xcb || op == 0xcf;
	return insn->opcode.nbytes == 2 && op == 0x0f &&
		(op2 == 0x05 || op2 == 0x07 || op2 == 0x35);
}

/* Return: false if what comes after it is not reached from here. */
static bool run_step(struct reader *r, struct state *st, struct step *s)
{
	struct insn *insn = &s->insn;
	unsigned int op = insn->opcode.bytes[0], group = X86_MODRM_REG(insn->modrm.bytes[0]);
	uint64_t ip = address_of(r, s);
	struct routine *routine = &r->c->routines[r->routine];

	s->reached = true;
	r->length = insn->length;
	apply_orc(r, st, ip);
	if (r->emit && !st->elsewhere && st->sp > routine->bytes)
		routine->bytes = st->sp;
	if (r->emit && st->dynamic)
		routine->dynamic = true;
	if (!insn->length || !insn->opcode.nbytes)
		return true;	/* could not be decoded */
	if (insn->opcode.nbytes == 1 && op == 0xe8)
		return direct_call(r, st, ip, ip + insn->length + insn_immediate(insn), false);
	if (is_jump(insn))
		return jump(r, st, s, insn->opcode.nbytes == 2 || op < 0x80);
	if (insn->opcode.nbytes == 1 && op == 0xff && (group == 2 || group == 4)) {
		indirect(r, st, s, group == 4);
		return group == 2;
	}
	machine_run(&r->m, st, insn, ip);
	return !ends(insn);
}

/* From a leader up to the next one. */
static void run_block(struct reader *r, size_t i)
{
	const struct orc_entry *orc = vmlinux_orc(r->v, address_of(r, &r->steps[i]));
	struct state st = *r->steps[i].state;

	r->orc = orc ? orc - r->v->orc : 0;
	do {
		if (!run_step(r, &st, &r->steps[i]))
			return;
		i++;
	} while (i < r->nr_steps && !r->steps[i].leader);
	if (i < r->nr_steps)
		flow_to(r, i, &st);
}

/* One function */

static bool make_room(struct reader *r)
{
	size_t size = r->f->end - r->f->start;

	if (size > r->step_at_room) {
		free(r->step_at);
		r->step_at = malloc(size * sizeof(*r->step_at));
		r->step_at_room = r->step_at ? size : 0;
	}
	if (size > r->steps_room) {
		free(r->steps);
		r->steps = malloc(size * sizeof(*r->steps));
		r->steps_room = r->steps ? size : 0;
	}
	if (r->step_at && r->steps)
		return true;
	r->no_memory = true;
	return false;
}

static void mark_leader(struct reader *r, uint64_t address)
{
	long step = step_of(r, address);

	if (step >= 0)
		r->steps[step].leader = true;
}

static void mark_leaders(struct reader *r)
{
	size_t i;

	for (i = 0; i < r->nr_steps; i++) {
		const struct insn *insn = &r->steps[i].insn;

		if (is_jump(insn))
			mark_leader(r, address_of(r, &r->steps[i]) + insn->length +
				    insn_immediate(insn));
	}
}

/* Return: false if the function has no bytes to read. */
static bool decode(struct reader *r)
{
	size_t size = r->f->end - r->f->start, at = 0;
	const unsigned char *code;

	if (!size || size > MAX_SIZE)
		return false;
	code = vmlinux_bytes(r->v, r->f->start, size);
	if (!code || !make_room(r))
		return false;
	memset(r->step_at, -1, size * sizeof(*r->step_at));
	r->nr_steps = 0;
	while (at < size) {
		struct step *s = &r->steps[r->nr_steps];

		*s = (struct step){};
		if (insn_decode(&s->insn, code + at, size - at, INSN_MODE_64) ||
		    !s->insn.length) {
			/* Data between code, or an instruction too new: go on behind it. */
			r->c->nr_undecoded++;
			insn_init(&s->insn, code + at, size - at, 1);
			s->insn.length = 0;
			r->step_at[at++] = r->nr_steps++;
			continue;
		}
		r->step_at[at] = r->nr_steps++;
		at += s->insn.length;
	}
	return true;
}

/* What a function finds when it is called. */
static void enter(struct reader *r, struct state *st)
{
	static const enum reg regs[MAX_PARAMS] = { DI, SI, DX, CX, R8, R9 };
	const struct prototype *p;
	int i;

	*st = (struct state){ .sp = 8 };
	if (r->f->cold) {
		st->sp = r->cold_sp > 8 ? r->cold_sp : 8;
		return;
	}
	p = types_prototype(r->t, r->c->routines[r->routine].prototype);
	for (i = 0; i < MAX_PARAMS; i++)
		st->reg[regs[i]] = value_of_pointer(p->param[i], (struct pointer){});
}

/* Between blocks that are aligned. */
static bool is_padding(const struct insn *insn)
{
	unsigned int op = insn->opcode.bytes[0];

	return (insn->opcode.nbytes == 1 && (op == 0x90 || op == 0xcc)) ||
		(insn->opcode.nbytes == 2 && op == 0x0f && insn->opcode.bytes[1] == 0x1f);
}

static void read_function(struct reader *r, const struct function *f)
{
	struct state st;
	bool again;
	size_t i;

	r->f = f;
	r->routine = r->c->routine_of[f - r->v->functions];
	r->cold_sp = r->c->routines[r->routine].bytes;
	if (!decode(r))
		return;
	mark_leaders(r);
	for (i = 0; i < r->nr_steps; i++)
		note_constants(r, &r->steps[i]);
	r->emit = false;
	enter(r, &st);
	r->steps[0].leader = true;
	flow_to(r, 0, &st);
	do {
		again = false;
		for (i = 0; i < r->nr_steps; i++) {
			if (r->steps[i].pending) {
				r->steps[i].pending = false;
				run_block(r, i);
				again = true;
			}
		}
		/* What no jump that we understand leads to: nothing is known there. */
		for (i = 0; !again && i < r->nr_steps; i++) {
			if (!r->steps[i].reached && !is_padding(&r->steps[i].insn)) {
				memset(&st.reg, 0, sizeof(st.reg));
				memset(&st.slot, 0, sizeof(st.slot));
				st.sp = r->cold_sp > 8 ? r->cold_sp : 8;
				r->steps[i].leader = true;
				flow_to(r, i, &st);
				again = !r->no_memory;
			}
		}
	} while (again);
	r->emit = true;
	for (i = 0; i < r->nr_steps; i++) {
		if (r->steps[i].state) {
			run_block(r, i);
			free(r->steps[i].state);
		}
	}
}

/* All of them */

/* "name.cold" and "name.part.0.cold" belong to what stands before ".cold". */
static uint32_t parent_of(const struct reader *r, const struct function *f, uint32_t otherwise)
{
	size_t length = strstr(f->name, ".cold") - f->name, i;
	char name[256];
	const struct symbol *s;

	if (length >= sizeof(name))
		return otherwise;
	memcpy(name, f->name, length);
	name[length] = '\0';
	s = vmlinux_symbol(r->v, name);
	if (!s)
		return otherwise;
	/* Of several with that name, the one that jumps there: its closest before. */
	for (i = 0; i < r->v->nr_functions; i++)
		if (r->v->functions[i].start == s->address && !r->v->functions[i].cold)
			return r->c->routine_of[i];
	return otherwise;
}

static int by_routine_name(const void *a, const void *b)
{
	return strcmp(*(const char * const *)a, *(const char * const *)b);
}

static bool is_noreturn(const char *name)
{
	return bsearch(&name, noreturns, ARRAY_SIZE(noreturns), sizeof(*noreturns),
		       by_routine_name);
}

static bool name_routines(struct reader *r)
{
	const struct vmlinux *v = r->v;
	struct calls *c = r->c;
	size_t i;

	c->routines = calloc(v->nr_functions, sizeof(*c->routines));
	c->routine_of = calloc(v->nr_functions, sizeof(*c->routine_of));
	if (!c->routines || !c->routine_of)
		return false;
	for (i = 0; i < v->nr_functions; i++) {
		struct routine *routine = &c->routines[c->nr_routines];

		routine->name = v->functions[i].name;
		routine->start = v->functions[i].start;
		routine->prototype = types_of_function(r->t, routine->name);
		routine->noreturn = is_noreturn(routine->name);
		c->routine_of[i] = c->nr_routines++;
	}
	for (i = 0; i < v->nr_functions; i++)
		if (v->functions[i].cold)
			c->routine_of[i] = parent_of(r, &v->functions[i], c->routine_of[i]);
	return true;
}

/* Pointers to functions in data: whoever finds them may call them. */
static void find_taken(struct reader *r)
{
	const struct symbol *from = vmlinux_symbol(r->v, "__start_mcount_loc");
	const struct symbol *to = vmlinux_symbol(r->v, "__stop_mcount_loc");
	size_t i, at;
	uint64_t word;

	for (i = 0; i < r->v->nr_sections; i++) {
		const struct section *s = &r->v->sections[i];

		if (s->code || !s->bytes || !strncmp(s->name, ".orc", 4) ||
		    !strcmp(s->name, ".BTF"))
			continue;
		for (at = -s->address & 7; at + 8 <= s->size; at += 8) {
			/* The tracer's table has them all. */
			if (from && to && s->address + at >= from->address &&
			    s->address + at < to->address)
				continue;
			memcpy(&word, s->bytes + at, sizeof(word));
			if (word >> 32)
				note_taken(r, word);
		}
	}
}

static int by_caller(const void *a, const void *b)
{
	const struct call *x = a, *y = b;

	if (x->caller != y->caller)
		return x->caller < y->caller ? -1 : 1;
	return x->ip < y->ip ? -1 : x->ip > y->ip;
}

static void sort_calls(struct calls *c)
{
	size_t i;

	if (c->nr_calls)
		qsort(c->calls, c->nr_calls, sizeof(*c->calls), by_caller);
	for (i = 0; i < c->nr_calls; i++) {
		struct routine *routine = &c->routines[c->calls[i].caller];

		if (!routine->nr_calls++)
			routine->first_call = i;
	}
}

struct calls *calls_read(const struct vmlinux *v, const struct types *t)
{
	const struct symbol *hot = vmlinux_symbol(v, "pcpu_hot");
	struct reader r = { .v = v, .t = t, .m = { .t = t },
			    .c = calloc(1, sizeof(*r.c)) };
	int cold;
	size_t i;

	if (!r.c)
		goto no_memory;
	r.m.current_task = hot ? hot->address : 0;
	if (!name_routines(&r))
		goto no_memory;
	find_taken(&r);
	/* Unlikely parts after what they belong to, whose frame they find. */
	for (cold = 0; cold <= 1; cold++) {
		for (i = 0; i < v->nr_functions && !r.no_memory; i++)
			if (v->functions[i].cold == cold)
				read_function(&r, &v->functions[i]);
	}
	free(r.steps);
	free(r.step_at);
	if (r.no_memory)
		goto no_memory;
	sort_calls(r.c);
	return r.c;
no_memory:
	p_err("no memory");
	if (r.c)
		calls_free(r.c);
	return NULL;
}

void calls_free(struct calls *c)
{
	free(c->routines);
	free(c->routine_of);
	free(c->calls);
	free(c);
}

const struct call *calls_returning_to(const struct calls *c, uint32_t routine, uint64_t address)
{
	const struct routine *r = &c->routines[routine];
	size_t i;

	for (i = 0; i < r->nr_calls; i++) {
		const struct call *call = &c->calls[r->first_call + i];

		if (!call->jump && call->ip + call->length == address)
			return call;
	}
	return NULL;
}

long calls_find(const struct calls *c, const char *name)
{
	size_t i;

	for (i = 0; i < c->nr_routines; i++)
		if (!strcmp(c->routines[i].name, name))
			return i;
	return -1;
}

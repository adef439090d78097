// SPDX-License-Identifier: GPL-2.0
/*
 * stackpolicy analyze: how deep each entry into a kernel can go at most, as far as
 * its image tells. Knows where threads enter the kernel and what is on the stack
 * by then; the rest is in calls.c, types.c and depth.c.
 */
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "depth.h"
#include "main.h"
#include "observed.h"
#include "stacks.h"

#define PT_REGS		168	/* what BTF does not tell */
#define FRED_PADDING	16	/* above pt_regs, in kernels that can use FRED */
#define ALIGNMENT	8	/* at most, by the CPU, before an exception's frame */
#define ENSURE_MARGIN	1024	/* what asking for stack takes itself */
#define DEFAULT_POPULATE	(12 * 1024)
#define DEFAULT_LIMIT		(32 * 1024)
#define NR_EDGES_OF_BASE	4

enum entry_kind {
	SYSCALL,
	FAULT,
	INTERRUPT,
	KTHREAD,
	NR_KINDS,
};

static const char * const kind_names[NR_KINDS] = {
	"syscall", "exception", "interrupt", "kthread",
};

static const char * const how_names[CALL_NR_HOWS] = { "direct", "static", "type", "unknown" };

/* What is on the stack before the function of an entry begins. */
struct base {
	int32_t		bytes;
	unsigned int	nr;
	struct {
		const char	*name;
		int32_t		bytes;
	} part[NR_EDGES_OF_BASE];
};

/* How a link of a chain came to be called. */
enum called {
	DIRECTLY,
	BY_TYPE,
	BACK,		/* by type or not */
};

struct link {
	uint32_t	routine;
	int32_t		bytes;
	enum called	called;
};

struct entry {
	enum entry_kind	kind;
	const char	*name;
	uint32_t	routine;
	int32_t		bytes;		/* in all */
	uint32_t	unresolved;	/* calls that can be reached, to nobody knows where */
	uint32_t	calls_back;	/* that can be reached */
	struct link	*chain;		/* the deepest one, from its own function on */
	size_t		nr_links;
};

struct analysis {
	struct vmlinux	*v;
	struct types	*t;
	struct calls	*c;
	struct graph	g;
	struct base	base[NR_KINDS];
	struct entry	*entries;
	size_t		nr_entries;
	bool		by_type;
	unsigned long	recurse, top;
	int32_t		populate, limit;
	size_t		how[CALL_NR_HOWS];
	size_t		tracer_calls;	/* of .how[CALL_UNKNOWN]: probes of tracepoints */
	bool		*left_out;	/* by routine: --without */
	bool		*reached;	/* by routine: from some entry */
	struct observed	o;		/* --edges */
};

/* Entries */

static void add_part(struct base *base, const char *name, int32_t bytes)
{
	if (bytes < 0 || base->nr == NR_EDGES_OF_BASE)
		return;
	base->part[base->nr].name = name;
	base->part[base->nr++].bytes = bytes;
	base->bytes += bytes;
}

/* Stack in use in function @from where it calls @to, or anybody if that is NULL; -1: never. */
static int32_t bytes_between(const struct calls *c, const char *from, const char *to)
{
	long caller = calls_find(c, from), callee = to ? calls_find(c, to) : -1;
	int32_t most = -1;
	size_t i;

	if (caller < 0 || (to && callee < 0))
		return -1;
	for (i = 0; i < c->routines[caller].nr_calls; i++) {
		const struct call *call = &c->calls[c->routines[caller].first_call + i];

		if ((!to || call->callee == callee) && call->bytes > most)
			most = call->bytes;
	}
	return most;
}

static void find_bases(struct analysis *a)
{
	int32_t regs = types_struct_size(a->t, "pt_regs") ?: PT_REGS;
	int32_t top = regs + (vmlinux_symbol(a->v, "asm_fred_entrypoint_user") ? FRED_PADDING : 0);
	struct base *base = &a->base[SYSCALL];

	add_part(base, "entry_SYSCALL_64", top);
	add_part(base, "do_syscall_64", bytes_between(a->c, "do_syscall_64", "x64_sys_call"));
	add_part(base, "x64_sys_call", bytes_between(a->c, "x64_sys_call", NULL));
	base = &a->base[KTHREAD];
	add_part(base, "ret_from_fork_asm", top);
	add_part(base, "ret_from_fork", bytes_between(a->c, "ret_from_fork", NULL));
	add_part(base, "kthread", bytes_between(a->c, "kthread", NULL));
	/* These two may come on top of anything. */
	add_part(&a->base[FAULT], "registers", regs + ALIGNMENT);
	add_part(&a->base[INTERRUPT], "registers", regs + ALIGNMENT);
}

/* Exceptions that have a stack of their own, wherever they hit. */
static bool on_own_stack(const char *name)
{
	static const char * const names[] = {
		"exc_double_fault", "exc_nmi", "exc_machine_check", "exc_debug",
		"exc_vmm_communication", "exc_nmi_kvm_vmx", "exc_xen_unknown_trap",
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static bool has_asm_stub(const struct analysis *a, const char *name)
{
	char stub[256];

	snprintf(stub, sizeof(stub), "asm_%s", name);
	return vmlinux_symbol(a->v, stub);
}

/* Return: NR_KINDS if it is none. */
static enum entry_kind kind_of(const struct analysis *a, const struct routine *r)
{
	if (!strncmp(r->name, "__x64_sys_", 10))
		return SYSCALL;
	if (!strncmp(r->name, "exc_", 4) && !on_own_stack(r->name) && has_asm_stub(a, r->name))
		return FAULT;
	if ((!strncmp(r->name, "sysvec_", 7) || !strcmp(r->name, "common_interrupt")) &&
	    has_asm_stub(a, r->name))
		return INTERRUPT;
	return r->kthread && strcmp(r->name, "kthread") ? KTHREAD : NR_KINDS;
}

static bool find_entries(struct analysis *a)
{
	unsigned int kind;
	size_t i;

	a->entries = calloc(a->c->nr_routines, sizeof(*a->entries));
	if (!a->entries)
		return false;
	for (kind = 0; kind < NR_KINDS; kind++) {
		for (i = 0; i < a->c->nr_routines; i++) {
			const struct routine *r = &a->c->routines[i];

			if (kind_of(a, r) == kind)
				a->entries[a->nr_entries++] = (struct entry){ kind,
					r->name + (kind == SYSCALL ? 10 : 0), i, 0, 0 };
		}
	}
	return true;
}

/* The graph */

/* Of --without NAME,NAME: calls to these are not followed. */
static bool leave_out(struct analysis *a)
{
	char *names = NULL, *rest, *name;
	bool ok = true;

	a->left_out = calloc(a->c->nr_routines, sizeof(*a->left_out));
	if (!a->left_out)
		return false;
	if (opt[OPT_WITHOUT])
		names = strdup(opt[OPT_WITHOUT]);
	rest = names;
	while (ok && (name = strsep(&rest, ","))) {
		long routine = calls_find(a->c, name);

		if (routine < 0)
			p_err("--without: there is no function '%s'", name);
		else
			a->left_out[routine] = true;
		ok = routine >= 0;
	}
	free(names);
	return ok;
}

/*
 * A way that does not come back is no concern of the stack's: the kernel is dying.
 * Or the thread is, in the system calls that are there for it; what a fatal signal
 * leads to would hide the depth of all others, which it can come at the end of.
 */
static bool is_followed(const struct analysis *a, uint32_t caller, uint32_t callee)
{
	static const char * const exits[] = { "do_exit", "do_group_exit", "do_task_dead" };
	const struct routine *r = &a->c->routines[callee];
	unsigned int i;

	if (a->left_out[callee])
		return false;
	if (!r->noreturn)
		return true;
	for (i = 0; i < ARRAY_SIZE(exits); i++)
		if (a->c->routines[caller].noreturn && !strcmp(r->name, exits[i]))
			return true;
	return false;
}

/*
 * A node for each routine, and one for each prototype that is called through
 * pointers, from which edges lead to all that may be behind such a pointer.
 */
static bool build_graph(struct analysis *a, uint32_t nr_prototypes)
{
	const struct calls *c = a->c;
	bool *used = calloc(nr_prototypes, sizeof(*used));
	bool ok = used && graph_init(&a->g, c->nr_routines + nr_prototypes);
	size_t i;

	for (i = 0; ok && i < c->nr_routines; i++)
		a->g.own[i] = c->routines[i].bytes;
	for (i = 0; ok && i < c->nr_calls; i++) {
		const struct call *call = &c->calls[i];

		a->how[call->how]++;
		if (call->how == CALL_UNKNOWN &&
		    !strncmp(c->routines[call->caller].name, "__traceiter_", 12))
			a->tracer_calls++;
		if (call->how <= CALL_STATIC && is_followed(a, call->caller, call->callee)) {
			ok = graph_add(&a->g, call->caller, call->callee, call->bytes, i);
		} else if (call->how == CALL_TYPE && a->by_type) {
			ok = graph_add(&a->g, call->caller, c->nr_routines + call->prototype,
				       call->bytes, i);
			used[call->prototype] = true;
		}
	}
	for (i = 0; ok && i < c->nr_routines; i++) {
		const struct routine *r = &c->routines[i];

		if (r->taken && r->prototype && used[r->prototype] && !r->noreturn &&
		    !a->left_out[i])
			ok = graph_add(&a->g, c->nr_routines + r->prototype, i, 0, UINT32_MAX);
	}
	free(used);
	return ok;
}

/* Unresolved calls in what the last search has reached. */
static uint32_t count_unresolved(struct analysis *a)
{
	uint32_t n = 0;
	size_t i, k;

	for (i = 0; i < a->g.nr_reached; i++) {
		const struct routine *r = &a->c->routines[a->g.order[i]];

		if (a->g.order[i] >= a->c->nr_routines)
			continue;
		a->reached[a->g.order[i]] = true;
		for (k = 0; k < r->nr_calls; k++) {
			const struct call *call = &a->c->calls[r->first_call + k];

			n += call->how == CALL_UNKNOWN || (call->how == CALL_TYPE && !a->by_type);
		}
	}
	return n;
}

/* Keep the deepest chain of the last search. */
static bool keep_chain(struct analysis *a, struct entry *e)
{
	struct link *links = calloc((a->recurse + 1) * a->g.nr_reached, sizeof(*links));
	unsigned int left = a->recurse;
	enum called called = DIRECTLY;
	uint32_t node = e->routine;
	const struct edge *edge;

	if (!links)
		return false;
	while ((edge = graph_next(&a->g, node, &left))) {
		if (node < a->c->nr_routines) {
			links[e->nr_links++] = (struct link){ node, edge->bytes, called };
			called = DIRECTLY;
		}
		if (edge->back)
			called = BACK;
		else if (edge->to >= a->c->nr_routines)
			called = BY_TYPE;
		node = edge->to;
	}
	links[e->nr_links++] = (struct link){ node, a->g.own[node], called };
	e->chain = reallocarray(links, e->nr_links, sizeof(*links));
	return e->chain;
}

static int by_depth(const void *x, const void *y)
{
	const struct entry *a = x, *b = y;

	return a->bytes != b->bytes ? b->bytes - a->bytes : strcmp(a->name, b->name);
}

/* A search for each: where cycles are cut depends on where it begins. */
static bool measure_entries(struct analysis *a)
{
	size_t i;

	a->reached = calloc(a->c->nr_routines, sizeof(*a->reached));
	if (!a->reached || !graph_sort(&a->g))
		return false;
	for (i = 0; i < a->nr_entries; i++) {
		struct entry *e = &a->entries[i];

		if (!graph_search(&a->g, e->routine, a->recurse) || !keep_chain(a, e))
			return false;
		e->bytes = a->base[e->kind].bytes + graph_depth(&a->g, e->routine, a->recurse);
		e->calls_back = a->g.nr_back;
		e->unresolved = count_unresolved(a);
	}
	qsort(a->entries, a->nr_entries, sizeof(*a->entries), by_depth);
	return true;
}

/*
 * For observed_compare(). A system call that ends in a jump is in no chain: of those
 * that jump to @routine the deepest one, as they are sorted by depth.
 */
static bool entry_of(const void *arg, uint32_t routine, uint32_t *entry, int32_t *base)
{
	const struct analysis *a = arg;
	size_t i;

	for (i = 0; i < a->nr_entries; i++) {
		if (jumps_to(a->c, a->entries[i].routine, routine, MAX_JUMPS)) {
			*entry = a->entries[i].routine;
			*base = a->base[a->entries[i].kind].bytes;
			return true;
		}
	}
	return false;
}

/* Output */

static void print_surprises(const char *name, const char *text,
			    const struct surprise *surprises, size_t nr)
{
	size_t i;

	if (json) {
		jsonw_name(json, name);
		jsonw_start_array(json);
	}
	for (i = 0; i < nr && i < MAX_SURPRISES; i++) {
		if (!json) {
			printf("%s %s: %d bytes seen, %d expected\n", text, surprises[i].function,
			       surprises[i].observed, surprises[i].expected);
			continue;
		}
		jsonw_start_object(json);
		jsonw_string_field(json, "function", surprises[i].function);
		jsonw_int_field(json, "observed_bytes", surprises[i].observed);
		jsonw_int_field(json, "expected_bytes", surprises[i].expected);
		jsonw_end_object(json);
	}
	if (json)
		jsonw_end_array(json);
}

static void print_observed(const struct observed *o)
{
	if (json) {
		jsonw_name(json, "observed");
		jsonw_start_object(json);
		jsonw_uint_field(json, "events", o->e.nr);
		jsonw_uint_field(json, "calls", o->links);
		jsonw_uint_field(json, "predicted", o->resolved);
		jsonw_uint_field(json, "wrong", o->wrong);
		jsonw_uint_field(json, "added", o->added);
		jsonw_uint_field(json, "frames", o->frames);
		jsonw_uint_field(json, "chains", o->chains);
		jsonw_int_field(json, "deepest_bytes", o->deepest);
	} else {
		printf("observed: %zu chains with %zu calls, %zu predicted, %zu wrongly; ",
		       o->e.nr, o->links, o->resolved, o->wrong);
		printf("%zu ways added\n%zu frames and %zu depths compared, up to %d bytes\n",
		       o->added, o->frames, o->chains, o->deepest);
	}
	print_surprises("frames_that_differ", "  frame of", o->differ, o->nr_differ);
	print_surprises("chains_deeper_than_bound", "  chain from", o->deeper, o->nr_deeper);
	if (json)
		jsonw_end_object(json);
}

static const char *fits(const struct analysis *a, const struct entry *e)
{
	/* Those on top of others have no size of their own to fit in. */
	if (e->kind == FAULT || e->kind == INTERRUPT)
		return "on top";
	return e->bytes <= a->populate ? "fits" : e->bytes <= a->limit ? "grows" : "over";
}

/* One line of a chain: called from @how, ends @at bytes below the top. */
static void print_link(const char *name, int32_t bytes, int32_t at, const char *how)
{
	if (!json) {
		printf("%7d %6d  %s%s\n", at, bytes, name, how);
		return;
	}
	jsonw_start_object(json);
	jsonw_string_field(json, "function", name);
	jsonw_int_field(json, "bytes", bytes);
	jsonw_int_field(json, "depth_bytes", at);
	if (*how)
		jsonw_string_field(json, "called", how);
	jsonw_end_object(json);
}

/* From the top of the stack to the deepest function. */
static void print_chain(const struct analysis *a, const struct entry *e)
{
	static const char * const plain[] = { "", "   (through a pointer)",
					      "   (back into a cycle)" };
	static const char * const names[] = { "", "type", "back" };
	const struct base *base = &a->base[e->kind];
	unsigned int part;
	int32_t at = 0;
	size_t i;

	for (part = 0; part < base->nr; part++) {
		at += base->part[part].bytes;
		print_link(base->part[part].name, base->part[part].bytes, at, "");
	}
	for (i = 0; i < e->nr_links; i++) {
		const struct link *link = &e->chain[i];

		at += link->bytes;
		print_link(a->c->routines[link->routine].name, link->bytes, at,
			   (json ? names : plain)[link->called]);
	}
}

static void entry_json(const struct analysis *a, const struct entry *e)
{
	jsonw_start_object(json);
	jsonw_string_field(json, "kind", kind_names[e->kind]);
	jsonw_string_field(json, "name", e->name);
	jsonw_int_field(json, "depth_bytes", e->bytes);
	jsonw_string_field(json, "fits", fits(a, e));
	jsonw_uint_field(json, "unresolved", e->unresolved);
	jsonw_uint_field(json, "calls_back", e->calls_back);
	jsonw_name(json, "chain");
	jsonw_start_array(json);
	print_chain(a, e);
	jsonw_end_array(json);
	jsonw_end_object(json);
}

static void print_entries(const struct analysis *a)
{
	size_t i;

	if (json) {
		jsonw_name(json, "entries");
		jsonw_start_array(json);
	} else {
		printf("\n%7s %-6s %6s  %s\n", "BYTES", "", "CALLS", "ENTRY");
	}
	for (i = 0; i < a->nr_entries && i < a->top; i++) {
		const struct entry *e = &a->entries[i];

		if (json)
			entry_json(a, e);
		else
			printf("%7d %-6s %6u  %s %s\n", e->bytes, fits(a, e),
			       (unsigned int)e->nr_links + a->base[e->kind].nr,
			       kind_names[e->kind], e->name);
	}
	if (json)
		jsonw_end_array(json);
}

static const struct calls *sorted_calls;

static int by_frame(const void *x, const void *y)
{
	const struct routine *a = &sorted_calls->routines[*(const uint32_t *)x];
	const struct routine *b = &sorted_calls->routines[*(const uint32_t *)y];

	return a->bytes != b->bytes ? b->bytes - a->bytes : strcmp(a->name, b->name);
}

/* Functions that some entry gets to, by the size of their frames; dynamic ones all. */
static bool print_frames(const struct analysis *a)
{
	uint32_t *order = calloc(a->c->nr_routines, sizeof(*order));
	size_t i, nr = 0, shown = 0;

	if (!order)
		return false;
	for (i = 0; i < a->c->nr_routines; i++)
		if (a->reached[i])
			order[nr++] = i;
	sorted_calls = a->c;
	qsort(order, nr, sizeof(*order), by_frame);
	if (json) {
		jsonw_name(json, "frames");
		jsonw_start_array(json);
	} else {
		printf("\n%7s %-6s %6s  %s\n", "BYTES", "", "", "LARGEST FRAMES");
	}
	for (i = 0; i < nr; i++) {
		const struct routine *r = &a->c->routines[order[i]];

		if (shown++ >= a->top && !r->dynamic)
			continue;
		if (json) {
			jsonw_start_object(json);
			jsonw_string_field(json, "function", r->name);
			jsonw_int_field(json, "bytes", r->bytes);
			jsonw_bool_field(json, "dynamic", r->dynamic);
			jsonw_end_object(json);
		} else {
			printf("%7d %-6s %6s  %s%s\n", r->bytes, "", "", r->name, r->dynamic ?
			       " and more: its size is computed" : "");
		}
	}
	if (json)
		jsonw_end_array(json);
	free(order);
	return true;
}

/* A function where asking for stack would help entries that have too little. */
struct place {
	uint32_t	routine;
	uint32_t	entries;
	int32_t		bytes;		/* that it needs from there on */
};

static int by_use(const void *x, const void *y)
{
	const struct place *a = x, *b = y;

	if (a->entries != b->entries)
		return b->entries < a->entries ? -1 : 1;
	return a->bytes != b->bytes ? a->bytes - b->bytes : (int)a->routine - (int)b->routine;
}

/*
 * On the deepest chain of each entry that does not fit: where what is used so far
 * does. Of functions that help equally many the one that comes last.
 */
static void find_places(const struct analysis *a, struct place *places)
{
	size_t i;

	for (i = 0; i < a->nr_entries; i++) {
		const struct entry *e = &a->entries[i];
		int32_t at = a->base[e->kind].bytes;
		size_t k;

		if (e->kind == FAULT || e->kind == INTERRUPT || e->bytes <= a->populate)
			continue;
		for (k = 0; k < e->nr_links &&
		     at + e->chain[k].bytes + ENSURE_MARGIN <= a->populate; k++) {
			places[e->chain[k].routine].entries++;
			places[e->chain[k].routine].bytes = e->bytes - at;
			at += e->chain[k].bytes;
		}
	}
}

static bool print_places(const struct analysis *a)
{
	struct place *places = calloc(a->c->nr_routines, sizeof(*places));
	size_t i;

	if (!places)
		return false;
	for (i = 0; i < a->c->nr_routines; i++)
		places[i].routine = i;
	find_places(a, places);
	qsort(places, a->c->nr_routines, sizeof(*places), by_use);
	if (json) {
		jsonw_name(json, "ensure");
		jsonw_start_array(json);
	} else if (places[0].entries) {
		printf("\n%7s %-6s %6s  %s\n", "BYTES", "", "COVERS", "WHERE TO stack_ensure()");
	}
	for (i = 0; i < a->c->nr_routines && i < a->top && places[i].entries; i++) {
		const char *name = a->c->routines[places[i].routine].name;

		if (json) {
			jsonw_start_object(json);
			jsonw_string_field(json, "function", name);
			jsonw_int_field(json, "bytes", places[i].bytes);
			jsonw_uint_field(json, "entries", places[i].entries);
			jsonw_end_object(json);
		} else {
			printf("%7d %-6s %6u  %s\n", places[i].bytes, "", places[i].entries, name);
		}
	}
	if (json)
		jsonw_end_array(json);
	free(places);
	return true;
}

static void print_summary(const struct analysis *a)
{
	size_t i, over[4] = {};
	unsigned int how;

	for (i = 0; i < a->nr_entries; i++) {
		const char *text = fits(a, &a->entries[i]);

		over[0] += !strcmp(text, "fits");
		over[1] += !strcmp(text, "grows");
		over[2] += !strcmp(text, "over");
		over[3] += !strcmp(text, "on top");
	}
	if (json) {
		jsonw_string_field(json, "release", a->v->release);
		jsonw_string_field(json, "build_id", a->v->build_id);
		jsonw_uint_field(json, "functions", a->c->nr_routines);
		jsonw_uint_field(json, "undecoded", a->c->nr_undecoded);
		jsonw_name(json, "calls");
		jsonw_start_object(json);
		for (how = 0; how < CALL_NR_HOWS; how++)
			jsonw_uint_field(json, how_names[how], a->how[how]);
		jsonw_uint_field(json, "unknown_in_tracepoints", a->tracer_calls);
		jsonw_end_object(json);
		jsonw_uint_field(json, "recurse", a->recurse);
		jsonw_string_field(json, "indirect", a->by_type ? "type" : "none");
		jsonw_int_field(json, "populate_bytes", a->populate);
		jsonw_int_field(json, "limit_bytes", a->limit);
		return;
	}
	printf("Linux %s: %zu functions, %zu calls: %zu direct, %zu through constants,\n"
	       "%zu through pointers of known type%s, %zu not resolved (%zu in tracepoints)\n",
	       a->v->release, a->c->nr_routines, a->c->nr_calls, a->how[CALL_DIRECT],
	       a->how[CALL_STATIC], a->how[CALL_TYPE], a->by_type ? "" : " (not followed)",
	       a->how[CALL_UNKNOWN], a->tracer_calls);
	printf("chains have up to %lu calls back into a cycle\n", a->recurse);
	if (a->c->nr_undecoded)
		printf("%zu bytes of code could not be decoded\n", a->c->nr_undecoded);
	printf("%zu entries: %zu fit into %d bytes, %zu grow, %zu are over %d bytes,\n"
	       "%zu come on top of others\n", a->nr_entries, over[0], a->populate, over[1],
	       over[2], a->limit, over[3]);
}

static bool print_entry(const struct analysis *a, const char *name)
{
	size_t i;

	for (i = 0; i < a->nr_entries; i++) {
		const struct entry *e = &a->entries[i];

		if (strcmp(e->name, name) && strcmp(a->c->routines[e->routine].name, name))
			continue;
		if (json) {
			entry_json(a, e);
			return true;
		}
		printf("%s %s: %d bytes, %s; %u calls on its ways are not resolved\n\n",
		       kind_names[e->kind], e->name, e->bytes, fits(a, e), e->unresolved);
		printf("%7s %6s  %s\n", "DEPTH", "BYTES", "FUNCTION");
		print_chain(a, e);
		return true;
	}
	p_err("no entry '%s': a system call, exc_*, sysvec_* or a kthread's function", name);
	return false;
}

static bool print_all(const struct analysis *a)
{
	bool ok;

	if (opt[OPT_ENTRY])
		return print_entry(a, opt[OPT_ENTRY]);
	if (json)
		jsonw_start_object(json);
	print_summary(a);
	if (opt[OPT_EDGES])
		print_observed(&a->o);
	print_entries(a);
	ok = print_frames(a) && print_places(a);
	if (json)
		jsonw_end_object(json);
	return ok;
}

/* "12/32", or a class of the running kernel. Return: DONE, or how to exit. */
static int parse_class(struct analysis *a)
{
	unsigned int populate_kb, limit_kb;
	struct stacks s;
	char end;
	int class;

	a->populate = DEFAULT_POPULATE;
	a->limit = DEFAULT_LIMIT;
	if (!opt[OPT_CLASS])
		return DONE;
	if (strchr(opt[OPT_CLASS], '/')) {
		if (sscanf(opt[OPT_CLASS], "%u/%u%c", &populate_kb, &limit_kb, &end) != 2 ||
		    !populate_kb || populate_kb > limit_kb || limit_kb > SPAN_KB) {
			p_err("--class %s: POPULATE/LIMIT in kB, up to %d, or a class",
			      opt[OPT_CLASS], SPAN_KB);
			return USAGE;
		}
		a->populate = populate_kb * 1024;
		a->limit = limit_kb * 1024;
		return DONE;
	}
	if (!stacks_read(&s))
		return FAILED;
	class = stacks_find(&s, opt[OPT_CLASS]);
	if (class < 0)
		return FAILED;
	a->populate = s.class[class].entry.populate_kb * 1024;
	a->limit = s.class[class].entry.limit_kb * 1024;
	return DONE;
}

static int parse_analysis(struct analysis *a)
{
	if (!opt_number(OPT_RECURSE, 0, 0, MAX_RECURSE, &a->recurse) ||
	    !opt_number(OPT_TOP, json ? SIZE_MAX : 20, 1, 1UL << 30, &a->top))
		return USAGE;
	a->by_type = true;
	if (opt[OPT_INDIRECT] && !strcmp(opt[OPT_INDIRECT], "none")) {
		a->by_type = false;
	} else if (opt[OPT_INDIRECT] && strcmp(opt[OPT_INDIRECT], "type")) {
		p_err("--indirect %s: none or type is wanted", opt[OPT_INDIRECT]);
		return USAGE;
	}
	return parse_class(a);
}

static int analyze(int argc, char **argv)
{
	struct analysis a = {};
	int ret = parse_analysis(&a);
	size_t i;

	if (ret)
		return ret;
	ret = FAILED;
	a.v = vmlinux_open(argv[0]);
	if (!a.v)
		return FAILED;
	a.t = types_new(a.v->btf);
	a.c = a.t ? calls_read(a.v, a.t) : NULL;
	if (!a.c || !leave_out(&a))
		goto free;
	if (!a.v->btf && a.by_type)
		p_info("Note: without BTF, calls through pointers are not resolved");
	find_bases(&a);
	if (!find_entries(&a) || !build_graph(&a, types_nr_prototypes(a.t))) {
		p_err("no memory");
		goto free;
	}
	a.o.by_type = a.by_type;
	if (opt[OPT_EDGES] && !observed_add(&a.o, opt[OPT_EDGES], a.v, a.c, &a.g))
		goto free;
	if (!measure_entries(&a)) {
		p_err("no memory");
		goto free;
	}
	if (opt[OPT_EDGES] && !observed_compare(&a.o, a.v, a.c, &a.g, entry_of, &a))
		p_info("Note: what was observed does not agree with the image");
	if (print_all(&a))
		ret = DONE;
free:
	observed_free(&a.o);
	graph_free(&a.g);
	for (i = 0; i < a.nr_entries; i++)
		free(a.entries[i].chain);
	free(a.entries);
	free(a.left_out);
	free(a.reached);
	if (a.c)
		calls_free(a.c);
	if (a.t)
		types_free(a.t);
	vmlinux_close(a.v);
	return ret;
}

static const struct command commands[] = {
	{ "", "VMLINUX", OPT(CLASS) | OPT(EDGES) | OPT(ENTRY) | OPT(INDIRECT) | OPT(RECURSE) |
	  OPT(TOP) | OPT(WITHOUT), 1, 1, analyze },
	{ }
};

const struct object analyze_object = {
	"analyze", "how deep each entry into a kernel can go at most", commands,
};

// SPDX-License-Identifier: GPL-2.0
/*
 * A chain is a list of return addresses. A function that ends in a jump to another
 * one is in no chain, so a call may lead to what its target jumps to.
 */
#include <stdlib.h>
#include <string.h>

#include "main.h"
#include "observed.h"

#define NOWHERE		UINT32_MAX

/* Where a frame lies: its routine, and the call it has made, if it has. */
struct place {
	uint32_t		routine;
	const struct call	*call;
};

/* Of several functions with that name, the one that has a call there. */
static struct place find_place(const struct vmlinux *v, const struct calls *c,
			       const struct event_frame *f, bool calls)
{
	const struct symbol *s = *f->module ? NULL : vmlinux_symbol(v, f->function);
	struct place place = { NOWHERE };

	for (; s && s < v->symbols + v->nr_symbols && !strcmp(s->name, f->function); s++) {
		/* A call that does not return may be the last of its function. */
		const struct function *function =
			vmlinux_function_at(v, s->address + f->offset - calls);
		uint32_t routine;

		if (!function)
			continue;
		routine = c->routine_of[function - v->functions];
		place.call = calls ? calls_returning_to(c, routine, s->address + f->offset) : NULL;
		if (!calls || place.call) {
			place.routine = routine;
			return place;
		}
	}
	return place;
}

static bool leads_to(const struct calls *c, const struct call *call, uint32_t to, int jumps);

bool jumps_to(const struct calls *c, uint32_t from, uint32_t to, int jumps)
{
	const struct routine *r = &c->routines[from];
	size_t i;

	if (from == to)
		return true;
	for (i = 0; jumps && i < r->nr_calls; i++) {
		const struct call *next = &c->calls[r->first_call + i];

		if (next->jump && leads_to(c, next, to, jumps - 1))
			return true;
	}
	return false;
}

/* Can @call lead to @to, as the image tells? By jumps from where it leads, too. */
static bool leads_to(const struct calls *c, const struct call *call, uint32_t to, int jumps)
{
	uint32_t i;

	if (call->how <= CALL_STATIC)
		return jumps_to(c, call->callee, to, jumps);
	for (i = 0; call->how == CALL_TYPE && i < c->nr_routines; i++) {
		if (c->routines[i].taken && c->routines[i].prototype == call->prototype &&
		    jumps_to(c, i, to, jumps))
			return true;
	}
	return false;
}

static void note(struct surprise *surprises, size_t *nr, const char *function, int32_t seen,
		 int32_t expected)
{
	if (*nr < MAX_SURPRISES)
		surprises[*nr] = (struct surprise){ function, seen, expected };
	(*nr)++;
}

/* What is on the stack where an interrupt or an exception came is no call's business. */
static bool is_stub(const struct event_frame *f)
{
	return !strncmp(f->function, "asm_", 4) || !*f->function;
}

static bool add_link(struct observed *o, const struct calls *c, struct graph *g,
		     const struct call *call, uint32_t to)
{
	size_t i;

	o->links++;
	if (call->how != CALL_UNKNOWN) {
		if (leads_to(c, call, to, MAX_JUMPS)) {
			o->resolved++;
			if (call->how != CALL_TYPE || o->by_type)
				return true;
		} else {
			o->wrong++;
		}
	}
	for (i = 0; i < g->nr_edges; i++)
		if (g->edges[i].from == call->caller && g->edges[i].to == to &&
		    g->edges[i].bytes == call->bytes)
			return true;
	o->added++;
	return graph_add(g, call->caller, to, call->bytes, call - c->calls);
}

static bool add_chain(struct observed *o, const struct event *event, const struct vmlinux *v,
		      const struct calls *c, struct graph *g)
{
	struct place inner = { NOWHERE };
	unsigned int i;

	for (i = 0; i < event->nr_frames; i++) {
		const struct event_frame *f = &event->frames[i];
		/* Neither the innermost frame nor one that was interrupted has called. */
		bool called = i && !is_stub(&event->frames[i - 1]);
		struct place place = is_stub(f) ? (struct place){ NOWHERE } :
			find_place(v, c, f, called);

		if (place.call && f->bytes >= 0) {
			o->frames++;
			if (place.call->exact ? f->bytes != place.call->bytes :
			    f->bytes > place.call->bytes)
				note(o->differ, &o->nr_differ, c->routines[place.routine].name,
				     f->bytes, place.call->bytes);
		}
		if (place.call && inner.routine != NOWHERE &&
		    !add_link(o, c, g, place.call, inner.routine))
			return false;
		inner = place;
	}
	return true;
}

bool observed_add(struct observed *o, const char *path, const struct vmlinux *v,
		  const struct calls *c, struct graph *g)
{
	size_t i;

	if (!events_read(path, &o->e))
		return false;
	if (*o->e.build_id && *v->build_id && strcmp(o->e.build_id, v->build_id)) {
		p_err("%s was recorded on another kernel, %s with build id %s", path,
		      o->e.release, o->e.build_id);
		return false;
	}
	for (i = 0; i < o->e.nr; i++) {
		if (!add_chain(o, &o->e.event[i], v, c, g)) {
			p_err("no memory");
			return false;
		}
	}
	return true;
}

/*
 * The fewest calls back on the way that @call takes to @to: through a set of
 * functions of one type, and jumps. -1: there is no way.
 */
static int calls_back(const struct calls *c, const struct graph *g, uint32_t node,
		      const struct call *call, uint32_t to, int jumps)
{
	int best = -1;
	size_t i;

	for (i = g->first[node]; i < g->first[node + 1]; i++) {
		const struct edge *edge = &g->edges[i];
		bool set = node >= c->nr_routines;
		int more = 0;

		if (!set && (call ? edge->call != call - c->calls :
			     edge->call >= c->nr_calls || !c->calls[edge->call].jump))
			continue;
		if (edge->to != to) {
			if (!jumps)
				continue;
			more = calls_back(c, g, edge->to, NULL, to, jumps - 1);
		}
		if (more >= 0 && (best < 0 || more + edge->back < best))
			best = more + edge->back;
	}
	return best;
}

/* The frames of an entry and below it, as deep as they were. */
static void compare_chain(struct observed *o, const struct event *event, unsigned int entry,
			  uint32_t routine, int32_t base, const struct vmlinux *v,
			  const struct calls *c, const struct graph *g)
{
	struct place outer = find_place(v, c, &event->frames[entry], entry);
	int32_t bytes = base, bound;
	unsigned int i;
	int back = 0;

	for (i = entry; i && back >= 0; i--) {
		struct place place;
		int more;

		if (is_stub(&event->frames[i - 1]) || event->frames[i].bytes < 0 || !outer.call)
			break;
		bytes += event->frames[i].bytes;
		place = find_place(v, c, &event->frames[i - 1], i > 1 &&
				   !is_stub(&event->frames[i - 2]));
		if (place.routine == NOWHERE)
			break;
		more = calls_back(c, g, outer.routine, outer.call, place.routine, MAX_JUMPS);
		if (more < 0)
			return;
		back += more;
		outer = place;
	}
	if (back > MAX_RECURSE)
		return;
	o->chains++;
	if (bytes > o->deepest)
		o->deepest = bytes;
	bound = base + graph_depth(g, routine, back);
	if (bytes > bound)
		note(o->deeper, &o->nr_deeper, c->routines[routine].name, bytes, bound);
}

bool observed_compare(struct observed *o, const struct vmlinux *v, const struct calls *c,
		      struct graph *g, find_entry_fn find_entry, const void *arg)
{
	unsigned int frame;
	uint32_t entry;
	int32_t base;
	size_t i;

	for (i = 0; i < o->e.nr; i++) {
		const struct event *event = &o->e.event[i];

		for (frame = event->nr_frames; frame; frame--) {
			struct place place = is_stub(&event->frames[frame - 1]) ?
				(struct place){ NOWHERE } :
				find_place(v, c, &event->frames[frame - 1], frame > 1);

			if (place.routine == NOWHERE ||
			    !find_entry(arg, place.routine, &entry, &base))
				continue;
			if (graph_search(g, entry, MAX_RECURSE))
				compare_chain(o, event, frame - 1, entry, base, v, c, g);
			break;
		}
	}
	return !o->nr_differ && !o->nr_deeper;
}

void observed_free(struct observed *o)
{
	events_free(&o->e);
}

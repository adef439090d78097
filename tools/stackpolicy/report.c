// SPDX-License-Identifier: GPL-2.0
/* stackpolicy trace report: a recording, aggregated by call chain. Needs no kernel. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "events.h"
#include "main.h"
#include "plot.h"
#include "trace.h"

/* Events with one chain, in the order in which qsort() has put them. */
struct chain {
	const struct event	*first;
	unsigned int		count;
	unsigned int		to;		/* bytes, the deepest */
	unsigned int		bytes;		/* of the frames that are known */
};

static int compare_frames(const struct event_frame *a, const struct event_frame *b)
{
	int order = strcmp(a->function, b->function);

	if (!order)
		order = strcmp(a->module, b->module);
	if (!order)
		order = (int)a->kind - (int)b->kind;
	if (!order)
		order = (int)a->left_out - (int)b->left_out;
	/* Not by bytes: the same frame can have more, by a random offset. */
	return order ? order : (a->offset < b->offset ? -1 : a->offset > b->offset);
}

static int refused(const struct event *event)
{
	return event->ret < 0;
}

/* Outermost first, so that chains with a common start stand together. */
static int compare_ways(const struct event *a, const struct event *b)
{
	unsigned int i;
	int order;

	for (i = 1; i <= a->nr_frames && i <= b->nr_frames; i++) {
		order = compare_frames(&a->frames[a->nr_frames - i], &b->frames[b->nr_frames - i]);
		if (order)
			return order;
	}
	return (int)a->nr_frames - (int)b->nr_frames;
}

static int compare_chains(const struct event *a, const struct event *b)
{
	if (a->fault != b->fault)
		return b->fault - a->fault;
	if (refused(a) != refused(b))
		return refused(a) - refused(b);
	return compare_ways(a, b);
}

/* The first one of a chain stays the first. */
static int by_chain(const void *x, const void *y)
{
	const struct event *a = x, *b = y;
	int order = compare_chains(a, b);

	return order ? order : (a->number < b->number ? -1 : 1);
}

static int by_count(const void *x, const void *y)
{
	const struct chain *a = x, *b = y;

	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	return compare_chains(a->first, b->first);
}

static int by_way(const void *x, const void *y)
{
	const struct chain *a = x, *b = y;

	return compare_ways(a->first, b->first);
}

/* Return: NULL without memory, after an error. */
static struct chain *aggregate(struct events *e, size_t *nr)
{
	struct chain *chains = calloc(e->nr + 1, sizeof(*chains));
	unsigned int frame;
	size_t i;

	*nr = 0;
	if (!chains) {
		p_err("no memory");
		return NULL;
	}
	if (e->nr)
		qsort(e->event, e->nr, sizeof(*e->event), by_chain);
	for (i = 0; i < e->nr; i++) {
		const struct event *event = &e->event[i];
		struct chain *chain = *nr ? &chains[*nr - 1] : NULL;

		if (!chain || compare_chains(chain->first, event)) {
			chain = &chains[(*nr)++];
			chain->first = event;
			for (frame = 0; frame < event->nr_frames; frame++)
				if (event->frames[frame].bytes > 0)
					chain->bytes += event->frames[frame].bytes;
		}
		chain->count++;
		if (event->to > chain->to)
			chain->to = event->to;
	}
	if (*nr)
		qsort(chains, *nr, sizeof(*chains), by_count);
	return chains;
}

static const char *kind(const struct event *event)
{
	return event->fault ? "overflow" : refused(event) ? "refused" : "ensure";
}

static void chain_json(const struct chain *chain)
{
	const struct event *event = chain->first;
	unsigned int i;

	jsonw_start_object(json);
	jsonw_string_field(json, "kind", kind(event));
	jsonw_uint_field(json, "count", chain->count);
	jsonw_string_field(json, "class", event->class);
	jsonw_string_field(json, "comm", event->comm);
	jsonw_uint_field(json, "to_bytes", chain->to);
	jsonw_uint_field(json, "known_bytes", chain->bytes);
	jsonw_name(json, "frames");
	jsonw_start_array(json);
	for (i = 0; i < event->nr_frames; i++) {
		const struct event_frame *f = &event->frames[i];

		jsonw_start_object(json);
		if (f->kind == FRAME_FUNCTION)
			jsonw_string_field(json, "function", f->function);
		else
			jsonw_null_field(json, "function");
		jsonw_uint_field(json, "offset", f->offset);
		if (f->kind == FRAME_LEFT_OUT)
			jsonw_uint_field(json, "left_out", f->left_out);
		if (f->kind == FRAME_USER_REGS)
			jsonw_bool_field(json, "user_registers", true);
		if (*f->module)
			jsonw_string_field(json, "module", f->module);
		if (f->bytes >= 0)
			jsonw_int_field(json, "bytes", f->bytes);
		jsonw_end_object(json);
	}
	jsonw_end_array(json);
	jsonw_end_object(json);
}

#define NAME_MAX_BYTES	(FUNCTION_MAX + MODULE_MAX + 16)

/* With @before and @after the module's name. */
static const char *frame_name(const struct event_frame *f, const char *before, const char *after)
{
	static char name[NAME_MAX_BYTES];

	switch (f->kind) {
	case FRAME_LEFT_OUT:
		snprintf(name, sizeof(name), "(%u more frames)", f->left_out);
		return name;
	case FRAME_USER_REGS:
		return "(user registers)";
	case FRAME_NOT_UNWOUND:
		return "(cannot be unwound)";
	default:
		snprintf(name, sizeof(name), "%s+0x%x%s%s%s", f->function, f->offset,
			 *f->module ? before : "", f->module, *f->module ? after : "");
		return name;
	}
}

/*
 * How many frames come again behind themselves, and how @often in a row: of all periods
 * the one that saves most lines. Counts from frame @i on.
 */
static unsigned int find_period(const struct event *event, unsigned int i, unsigned int *often)
{
	const struct event_frame *f = &event->frames[i];
	unsigned int left = event->nr_frames - i, best = 1, period, n;

	*often = 1;
	for (period = 1; 2 * period <= left; period++) {
		for (n = 0; period + n < left && !compare_frames(&f[n], &f[period + n]); n++)
			;
		n = n / period + 1;
		if ((n - 1) * period > (*often - 1) * best) {
			best = period;
			*often = n;
		}
	}
	return best;
}

static void frame_plain(const struct event_frame *f)
{
	if (f->bytes >= 0)
		printf("%7d ", f->bytes);
	else
		printf("%7s ", "-");
	printf("%s", frame_name(f, " [", "]"));
}

static void chain_plain(const struct chain *chain)
{
	const struct event *event = chain->first;
	unsigned int i, n, period, often;

	printf("\n%u times %s, class %s, first %s[%d], up to %u bytes", chain->count, kind(event),
	       event->class, *event->comm ? event->comm : "?", event->pid, chain->to);
	if (chain->bytes)
		printf("; these frames have %u", chain->bytes);
	printf("\n");
	for (i = 0; i < event->nr_frames; i += period * often) {
		period = find_period(event, i, &often);
		for (n = 0; n < period; n++) {
			frame_plain(&event->frames[i + n]);
			if (often > 1 && period == 1)
				printf(" (%u times)", often);
			else if (often > 1 && n == period - 1)
				printf(" (these %u lines %u times)", period, often);
			printf("\n");
		}
	}
}

/*
 * A tree of frames from the outermost one in. A box is one place in a function
 * under one and the same way there, and as wide as the stack in use there and
 * above: however often it was seen, and the most that it had. What is not known
 * counts as one byte.
 */
static struct plot_frame *add_frame(struct plot_frame *parent, const struct event_frame *f)
{
	unsigned long long weight = f->bytes > 0 ? f->bytes : 1;
	struct plot_frame *child = parent->child;
	char name[NAME_MAX_BYTES], *c;

	snprintf(name, sizeof(name), "%s", frame_name(f, "@", ""));
	/* A blank would end it for flame graph tools. */
	for (c = name; *c; c++)
		if (*c == ' ')
			*c = '_';
	/* The chains come by_way(): it is the last one that was added, or a new one. */
	if (child && !strcmp(child->name, name)) {
		if (child->weight < weight)
			child->weight = weight;
		return child;
	}
	child = calloc(1, sizeof(*child));
	if (child)
		child->name = strdup(name);
	if (!child || !child->name) {
		free(child);
		return NULL;
	}
	child->weight = weight;
	child->next = parent->child;
	parent->child = child;
	return child;
}

static bool build_tree(struct plot_frame *root, struct chain *chains, size_t nr)
{
	unsigned int frame;
	size_t i;

	qsort(chains, nr, sizeof(*chains), by_way);
	for (i = 0; i < nr; i++) {
		const struct event *event = chains[i].first;
		struct plot_frame *at = root;

		for (frame = event->nr_frames; frame && at; frame--)
			at = add_frame(at, &event->frames[frame - 1]);
		if (!at) {
			p_err("no memory");
			return false;
		}
	}
	qsort(chains, nr, sizeof(*chains), by_count);
	return true;
}

/* One line for each frame with its own bytes, so that flame graphs add them up. */
static void print_folded(const struct plot_frame *frame, char *way, size_t at, size_t size)
{
	for (; frame; frame = frame->next) {
		int len = snprintf(way + at, size - at, "%s%s", at ? ";" : "", frame->name);

		if (len < 0 || (size_t)len >= size - at)
			continue;
		printf("%s %llu\n", way, frame->weight);
		print_folded(frame->child, way, at + len, size);
	}
}

/* From own bytes to those of all above it. */
static unsigned long long add_up(struct plot_frame *frame)
{
	unsigned long long sum = 0;

	for (; frame; frame = frame->next) {
		frame->weight += add_up(frame->child);
		sum += frame->weight;
	}
	return sum;
}

static void free_tree(struct plot_frame *frame)
{
	while (frame) {
		struct plot_frame *next = frame->next;

		free_tree(frame->child);
		free((char *)frame->name);
		free(frame);
		frame = next;
	}
}

static bool plot(struct plot_frame *root, const char *path)
{
	struct replacement r;

	root->weight = add_up(root->child);
	if (!replace_open(&r, path))
		return false;
	plot_flame(r.file, "Kernel stack by function", "bytes", root);
	return replace_commit(&r);
}

static void print_chains(const struct events *e, const struct chain *chains, size_t nr,
			 unsigned long top)
{
	size_t i;

	if (json) {
		jsonw_start_object(json);
		jsonw_string_field(json, "release", e->release);
		jsonw_string_field(json, "build_id", e->build_id);
		jsonw_uint_field(json, "events", e->nr);
		jsonw_lluint_field(json, "lost", e->lost);
		jsonw_name(json, "chains");
		jsonw_start_array(json);
	} else {
		printf("Linux %s: %zu events of %zu call chains, %lu lost\n", e->release, e->nr, nr,
		       e->lost);
	}
	for (i = 0; i < nr && i < top; i++) {
		if (json)
			chain_json(&chains[i]);
		else
			chain_plain(&chains[i]);
	}
	if (!json)
		return;
	jsonw_end_array(json);
	jsonw_end_object(json);
}

int trace_report(int argc, char **argv)
{
	struct plot_frame root = { .name = "all" };
	static char way[EVENT_FRAMES * 256];
	struct chain *chains;
	struct events e;
	unsigned long top;
	int ret = FAILED;
	size_t nr;

	if (!opt_number(OPT_TOP, SIZE_MAX, 1, 1UL << 30, &top))
		return USAGE;
	if (opt[OPT_FOLDED] && json) {
		p_err("--folded is for flame graph tools; without it there is JSON");
		return USAGE;
	}
	if (!events_read(argv[0], &e))
		return FAILED;
	chains = aggregate(&e, &nr);
	if (!chains)
		goto free;
	if ((opt[OPT_FOLDED] || opt[OPT_PLOT]) && !build_tree(&root, chains, nr < top ? nr : top))
		goto free;
	if (opt[OPT_FOLDED])
		print_folded(root.child, way, 0, sizeof(way));
	if (opt[OPT_PLOT] && !plot(&root, opt[OPT_PLOT]))
		goto free;
	if (!opt[OPT_FOLDED])
		print_chains(&e, chains, nr, top);
	ret = DONE;
free:
	free_tree(root.child);
	free(chains);
	events_free(&e);
	return ret;
}

static const struct command commands[] = {
	{ "report", "FILE", OPT(FOLDED) | OPT(PLOT) | OPT(TOP), 1, 1, trace_report },
	{ "record", "[SECONDS]", OPT(OUTPUT), 0, 1, trace_record },
	{ }
};

const struct object trace_object = {
	"trace", "overflows and growths with their call chains", commands,
};

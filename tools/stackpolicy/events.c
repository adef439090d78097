// SPDX-License-Identifier: GPL-2.0
/* Reads and writes the file of recorded events; believes nothing that it reads. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "events.h"
#include "main.h"

#define MAGIC		"stackpolicy-trace 1"
#define MAX_EVENTS	0x100000
#define MAX_FRAMES	(8 << 20)
#define LINE_MAX_BYTES	512

bool events_full(const struct events *e)
{
	return e->nr == MAX_EVENTS || e->nr_frames > MAX_FRAMES - EVENT_FRAMES;
}

struct event *events_add(struct events *e)
{
	if (events_full(e)) {
		p_err("more than %zu events with %zu frames", e->nr, e->nr_frames);
		return NULL;
	}
	if (e->nr == e->room) {
		size_t room = e->room * 2 + 64;
		void *more;

		more = reallocarray(e->event, room, sizeof(*e->event));
		if (!more) {
			p_err("no memory");
			return NULL;
		}
		e->event = more;
		e->room = room;
	}
	e->event[e->nr] = (struct event){ .number = e->nr, .times = 1 };
	return &e->event[e->nr++];
}

/* Where @name is in the table, or would be. */
static char **name_slot(char **names, size_t room, const char *name)
{
	unsigned long long hash = 0xcbf29ce484222325ULL;
	const char *c;
	size_t i;

	for (c = name; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 0x100000001b3ULL;
	for (i = hash % room; names[i] && strcmp(names[i], name); i = (i + 1) % room)
		;
	return &names[i];
}

static bool grow_names(struct events *e)
{
	size_t room = e->names_room * 2 + 1024, i;
	char **names = calloc(room, sizeof(*names));

	if (!names)
		return false;
	for (i = 0; i < e->names_room; i++)
		if (e->names[i])
			*name_slot(names, room, e->names[i]) = e->names[i];
	free(e->names);
	e->names = names;
	e->names_room = room;
	return true;
}

/* The one copy of @name; NULL without memory. */
static const char *keep_name(struct events *e, const char *name)
{
	char **slot;

	if (!*name)
		return "";
	if (e->nr_names >= e->names_room / 2 && !grow_names(e))
		return NULL;
	slot = name_slot(e->names, e->names_room, name);
	if (!*slot) {
		*slot = strdup(name);
		e->nr_names += !!*slot;
	}
	return *slot;
}

struct event_frame *event_add_frame(struct events *e, struct event *event,
				    const char *function, const char *module)
{
	struct event_frame frame = {
		.kind = *function ? FRAME_FUNCTION : FRAME_NOT_UNWOUND,
		.bytes = -1,
	};
	void *more = event->frames;

	if (event->nr_frames == EVENT_FRAMES)
		return NULL;
	frame.function = keep_name(e, function);
	frame.module = keep_name(e, module);
	/* In steps of 8. */
	if (!(event->nr_frames % 8))
		more = reallocarray(event->frames, event->nr_frames + 8, sizeof(*event->frames));
	if (more)
		event->frames = more;
	if (!more || !frame.function || !frame.module) {
		p_err("no memory");
		return NULL;
	}
	e->nr_frames++;
	event->frames[event->nr_frames] = frame;
	return &event->frames[event->nr_frames++];
}

static bool parse_event(struct events *e, const char *line)
{
	struct event *event = events_add(e);
	char kind[8];
	int at = 0;

	if (!event || sscanf(line,
			     "event %7s pid=%d class=%31s from=%u to=%u limit=%u ret=%d comm=%n",
			     kind, &event->pid, event->class, &event->from, &event->to,
			     &event->limit, &event->ret, &at) != 7 || !at)
		return false;
	event->fault = !strcmp(kind, "fault");
	snprintf(event->comm, sizeof(event->comm), "%s", line + at);
	return event->fault || !strcmp(kind, "ensure");
}

/* "12" or "-" for -1. */
static bool parse_bytes(const char *text, int *bytes)
{
	unsigned long n;
	char *end;

	*bytes = -1;
	if (!strcmp(text, "-"))
		return true;
	n = strtoul(text, &end, 10);
	if (*end || *text < '0' || *text > '9' || n > 1 << 20)
		return false;
	*bytes = n;
	return true;
}

/* What is no function: the word behind "?". */
static bool parse_kind(const char *text, enum frame_kind *kind, unsigned int *left_out)
{
	int at = 0;

	if (!*text) {
		*kind = FRAME_NOT_UNWOUND;
		return true;
	}
	if (!strcmp(text, "user-registers")) {
		*kind = FRAME_USER_REGS;
		return true;
	}
	*kind = FRAME_LEFT_OUT;
	return sscanf(text, "left-out:%6u%n", left_out, &at) == 1 && !text[at];
}

static bool parse_frame(struct events *e, const char *line)
{
	char bytes[12], where[FUNCTION_MAX + 16], module[MODULE_MAX] = "", *plus, *end;
	enum frame_kind kind = FRAME_FUNCTION;
	unsigned int left_out = 0;
	unsigned long offset = 0;
	struct event_frame *frame;
	int known, at = 0;

	if (!e->nr || sscanf(line, " %11s %143s%n %63s%n", bytes, where, &at, module, &at) < 2 ||
	    line[at] || !parse_bytes(bytes, &known))
		return false;
	if (!strcmp(where, "?")) {
		if (!parse_kind(module, &kind, &left_out))
			return false;
		*where = *module = '\0';
	} else {
		plus = strrchr(where, '+');
		if (!plus || plus == where || plus - where >= FUNCTION_MAX ||
		    strncmp(plus, "+0x", 3))
			return false;
		*plus = '\0';
		offset = strtoul(plus + 3, &end, 16);
		if (end == plus + 3 || *end || offset > INT_MAX)
			return false;
	}
	frame = event_add_frame(e, &e->event[e->nr - 1], where, module);
	if (!frame)
		return false;
	frame->kind = kind;
	frame->left_out = left_out;
	frame->offset = offset;
	frame->bytes = known;
	return true;
}

static bool parse_line(struct events *e, const char *line, bool *ended)
{
	int at = 0;

	if (*ended)
		return false;
	if (!strncmp(line, "event ", 6))
		return parse_event(e, line);
	if (*line == ' ')
		return parse_frame(e, line);
	if (!strncmp(line, "lost ", 5)) {
		*ended = true;
		return sscanf(line, "lost %lu%n", &e->lost, &at) == 1 && !line[at];
	}
	return (sscanf(line, "release %63s%n", e->release, &at) == 1 ||
		sscanf(line, "build_id %40[0-9a-f]%n", e->build_id, &at) == 1) && !line[at];
}

void events_make_printable(char *line)
{
	for (; *line; line++)
		if (*line < ' ' || *line > '~')
			*line = '?';
}

bool events_read(const char *path, struct events *e)
{
	FILE *file = strcmp(path, "-") ? fopen(path, "r") : stdin;
	char line[LINE_MAX_BYTES];
	bool ok = true, ended = false;
	size_t nr = 0;

	*e = (struct events){};
	if (!file) {
		p_err("%s: %s", path, strerror(errno));
		return false;
	}
	while (ok && fgets(line, sizeof(line), file)) {
		size_t len = strcspn(line, "\n");

		nr++;
		ok = line[len] == '\n';
		line[len] = '\0';
		events_make_printable(line);
		if (nr == 1) {
			ok = ok && !strcmp(line, MAGIC);
			if (!ok)
				p_err("%s is no recording of 'stackpolicy trace record'", path);
			continue;
		}
		ok = ok && parse_line(e, line, &ended);
		if (!ok)
			p_err("%s, line %zu: what is '%.60s'?", path, nr, line);
	}
	if (ok && ferror(file)) {
		p_err("%s: %s", path, strerror(errno));
		ok = false;
	} else if (ok && !ended) {
		p_err("%s is truncated after line %zu", path, nr);
		ok = false;
	}
	if (file != stdin)
		fclose(file);
	if (!ok)
		events_free(e);
	return ok;
}

static void write_frame(FILE *file, const struct event_frame *f)
{
	if (f->bytes < 0)
		fprintf(file, " -");
	else
		fprintf(file, " %d", f->bytes);
	switch (f->kind) {
	case FRAME_FUNCTION:
		fprintf(file, " %s+0x%x%s%s\n", f->function, f->offset, *f->module ? " " : "",
			f->module);
		break;
	case FRAME_LEFT_OUT:
		fprintf(file, " ? left-out:%u\n", f->left_out);
		break;
	case FRAME_USER_REGS:
		fprintf(file, " ? user-registers\n");
		break;
	case FRAME_NOT_UNWOUND:
		fprintf(file, " ?\n");
		break;
	}
}

void events_write(FILE *file, const struct events *e)
{
	unsigned int frame;
	size_t i;

	fprintf(file, MAGIC "\n");
	if (*e->release)
		fprintf(file, "release %s\n", e->release);
	if (*e->build_id)
		fprintf(file, "build_id %s\n", e->build_id);
	for (i = 0; i < e->nr; i++) {
		const struct event *event = &e->event[i];

		fprintf(file, "event %s pid=%d class=%s from=%u to=%u limit=%u ret=%d comm=%s\n",
			event->fault ? "fault" : "ensure", event->pid, event->class, event->from,
			event->to, event->limit, event->ret, event->comm);
		for (frame = 0; frame < event->nr_frames; frame++)
			write_frame(file, &event->frames[frame]);
	}
	fprintf(file, "lost %lu\n", e->lost);
}

void events_free(struct events *e)
{
	size_t i;

	for (i = 0; i < e->nr; i++)
		free(e->event[i].frames);
	for (i = 0; i < e->names_room; i++)
		free(e->names[i]);
	free(e->names);
	free(e->event);
	*e = (struct events){};
}

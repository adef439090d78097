// SPDX-License-Identifier: GPL-2.0
/* Reads and writes the file of recorded events; believes nothing that it reads. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "events.h"
#include "main.h"

#define MAGIC		"stackpolicy-trace 1"
#define MAX_EVENTS	1000000
#define LINE_MAX_BYTES	512

struct event *events_add(struct events *e)
{
	if (e->nr == e->room) {
		size_t room = e->room * 2 + 64;
		void *more = NULL;

		if (e->nr < MAX_EVENTS)
			more = reallocarray(e->event, room, sizeof(*e->event));
		if (!more) {
			p_err("too many events: %zu", e->nr);
			return NULL;
		}
		e->event = more;
		e->room = room;
	}
	e->event[e->nr] = (struct event){ .number = e->nr };
	return &e->event[e->nr++];
}

struct event_frame *event_add_frame(struct event *event)
{
	void *more;

	if (event->nr_frames == EVENT_FRAMES)
		return NULL;
	/* In steps of 8. */
	if (!(event->nr_frames % 8)) {
		more = reallocarray(event->frames, event->nr_frames + 8, sizeof(*event->frames));
		if (!more) {
			p_err("no memory");
			return NULL;
		}
		event->frames = more;
	}
	event->frames[event->nr_frames] = (struct event_frame){ .bytes = -1 };
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

static bool parse_frame(struct events *e, const char *line)
{
	struct event_frame *frame = e->nr ? event_add_frame(&e->event[e->nr - 1]) : NULL;
	char bytes[12], where[FUNCTION_MAX + 16], *plus, *end;

	if (!frame || sscanf(line, " %11s %143s %63s", bytes, where, frame->module) < 2)
		return false;
	if (strcmp(bytes, "-")) {
		long n = strtol(bytes, &end, 10);

		if (*end || n < 0 || n > 1 << 20)
			return false;
		frame->bytes = n;
	}
	if (!strcmp(where, "?"))
		return true;
	plus = strrchr(where, '+');
	if (!plus || plus == where || plus - where >= FUNCTION_MAX)
		return false;
	frame->offset = strtoul(plus + 1, &end, 16);
	memcpy(frame->function, where, plus - where);
	return end != plus + 1 && !*end;
}

static bool parse_line(struct events *e, const char *line, bool *ended)
{
	if (!strncmp(line, "event ", 6))
		return parse_event(e, line);
	if (*line == ' ')
		return parse_frame(e, line);
	if (!strncmp(line, "lost ", 5)) {
		*ended = true;
		return sscanf(line, "lost %lu", &e->lost) == 1;
	}
	return sscanf(line, "release %63s", e->release) == 1 ||
		sscanf(line, "build_id %40s", e->build_id) == 1;
}

/* Names end up on terminals and in JSON. */
static void make_printable(char *line)
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
	while (ok && !ended && fgets(line, sizeof(line), file)) {
		size_t len = strcspn(line, "\n");

		nr++;
		ok = line[len] == '\n';
		line[len] = '\0';
		make_printable(line);
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
	if (ok && !ended) {
		p_err("%s is truncated after line %zu", path, nr);
		ok = false;
	}
	if (file != stdin)
		fclose(file);
	if (!ok)
		events_free(e);
	return ok;
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
		for (frame = 0; frame < event->nr_frames; frame++) {
			const struct event_frame *f = &event->frames[frame];

			if (f->bytes < 0)
				fprintf(file, " -");
			else
				fprintf(file, " %d", f->bytes);
			if (*f->function)
				fprintf(file, " %s+0x%x%s%s\n", f->function, f->offset,
					*f->module ? " " : "", f->module);
			else
				fprintf(file, " ?\n");
		}
	}
	fprintf(file, "lost %lu\n", e->lost);
}

void events_free(struct events *e)
{
	size_t i;

	for (i = 0; i < e->nr; i++)
		free(e->event[i].frames);
	free(e->event);
	*e = (struct events){};
}

// SPDX-License-Identifier: GPL-2.0
/*
 * stackpolicy ensure suggest: from overflows, recorded or remembered by the kernel, where to
 * ask for how much, so that none of these chains overflows again.
 */
#include <stdlib.h>
#include <string.h>

#include "ensure.h"
#include "events.h"
#include "main.h"
#include "stacks.h"

/* What asking takes itself: a trampoline, the program, and the growth. */
#define ASKING		1536
#define MAX_BYTES	(SPAN_KB * 1024 - 1)
/* What a new thread has: one that has been deeper before the recording kept that. */
#define GIVEN		(12 * 1024)

struct place {
	const char	*function, *module;
	unsigned int	bytes;
	unsigned long	overflows;
};

struct suggestion {
	struct place	*places;
	size_t		nr;
	unsigned long	overflows, without;	/* all, and those that no place was found for */
};

/* What a thread of that class has before it overflows for the first time. */
static unsigned int given(const struct events *e, const char *class)
{
	unsigned int bytes = GIVEN;
	size_t i;

	for (i = 0; i < e->nr; i++)
		if (e->event[i].fault && !strcmp(e->event[i].class, class) &&
		    e->event[i].from < bytes)
			bytes = e->event[i].from;
	return bytes;
}

static bool once(const struct event *event, const char *function)
{
	unsigned int i, nr = 0;

	for (i = 0; i < event->nr_frames; i++)
		nr += !strcmp(event->frames[i].function, function);
	return nr == 1;
}

/*
 * Bytes in use when @frame's function is entered: of who called it, and the address that it
 * returns to. 0 if they are not known.
 */
static unsigned int depth_at(const struct event *event, unsigned int frame)
{
	unsigned int i, bytes = sizeof(void *);

	for (i = frame + 1; i < event->nr_frames; i++) {
		if (event->frames[i].bytes < 0)
			return 0;
		bytes += event->frames[i].bytes;
	}
	return bytes;
}

/*
 * The innermost function that is entered while there is stack to ask with: it disturbs the
 * fewest others. Not one that is there twice: it would ask each time. Return: its frame, or -1.
 */
static int find_place(const struct events *e, const struct event *event)
{
	unsigned int has = given(e, event->class), i, depth;

	for (i = 0; i < event->nr_frames; i++) {
		const struct event_frame *f = &event->frames[i];

		if (f->kind != FRAME_FUNCTION || !*f->function || strchr(f->function, '.'))
			continue;
		depth = depth_at(event, i);
		if (!depth || depth + ASKING > has || !once(event, f->function))
			continue;
		if (!ensure_knows_functions() || ensure_can_add(f->function))
			return i;
	}
	return -1;
}

/* To ask for at the entry of that frame's function, so that there is what @event grew to. */
static unsigned int needs(const struct event *event, unsigned int depth)
{
	return event->to - depth < MAX_BYTES ? event->to - depth : MAX_BYTES;
}

static struct place *place_of(struct suggestion *s, const struct event_frame *f)
{
	size_t i;

	for (i = 0; i < s->nr; i++)
		if (!strcmp(s->places[i].function, f->function))
			return &s->places[i];
	s->places[s->nr].function = f->function;
	s->places[s->nr].module = f->module;
	return &s->places[s->nr++];
}

static bool suggest(const struct events *e, struct suggestion *s)
{
	size_t i;

	*s = (struct suggestion){ .places = calloc(e->nr + 1, sizeof(*s->places)) };
	if (!s->places) {
		p_err("no memory");
		return false;
	}
	for (i = 0; i < e->nr; i++) {
		const struct event *event = &e->event[i];
		int frame;

		if (!event->fault)
			continue;
		s->overflows += event->times;
		frame = find_place(e, event);
		if (frame < 0) {
			s->without += event->times;
			continue;
		}
		place_of(s, &event->frames[frame])->overflows += event->times;
	}
	return true;
}

/*
 * How much: for all overflows with that function in their chain. One deeper down may have
 * happened on stack that one further out made: who asks there asks for all of it.
 */
static void cover(const struct events *e, struct suggestion *s)
{
	size_t i, n;
	unsigned int f;

	for (i = 0; i < e->nr; i++) {
		const struct event *event = &e->event[i];

		for (f = 0; event->fault && f < event->nr_frames; f++) {
			unsigned int depth = depth_at(event, f);

			for (n = 0; depth && n < s->nr; n++) {
				unsigned int bytes = needs(event, depth);

				if (!strcmp(s->places[n].function, event->frames[f].function) &&
				    bytes > s->places[n].bytes)
					s->places[n].bytes = bytes;
			}
		}
	}
}

static int by_bytes(const void *x, const void *y)
{
	const struct place *a = x, *b = y;

	if (a->bytes != b->bytes)
		return a->bytes > b->bytes ? -1 : 1;
	return strcmp(a->function, b->function);
}

static void print(const struct suggestion *s)
{
	size_t i;

	if (json)
		jsonw_start_array(json);
	else
		printf("%-40s %6s %9s\n", "FUNCTION", "BYTES", "OVERFLOWS");
	for (i = 0; i < s->nr; i++) {
		const struct place *p = &s->places[i];

		if (!json) {
			printf("%-40s %6u %9lu%s%s%s\n", p->function, p->bytes, p->overflows,
			       *p->module ? " [" : "", p->module, *p->module ? "]" : "");
			continue;
		}
		jsonw_start_object(json);
		jsonw_string_field(json, "function", p->function);
		if (*p->module)
			jsonw_string_field(json, "module", p->module);
		jsonw_uint_field(json, "bytes", p->bytes);
		jsonw_uint_field(json, "overflows", p->overflows);
		jsonw_end_object(json);
	}
	if (json)
		jsonw_end_array(json);
}

static bool save(const struct suggestion *s, const char *path)
{
	struct replacement file;
	size_t i;

	if (!replace_open(&file, path))
		return false;
	ensure_write_header(file.file);
	for (i = 0; i < s->nr; i++)
		fprintf(file.file, "%s %u\n", s->places[i].function, s->places[i].bytes);
	return replace_commit(&file);
}

int ensure_suggest(int argc, char **argv)
{
	struct suggestion s = {};
	int ret = FAILED;
	struct events e;

	if (argc ? !events_read(argv[0], &e) : !events_read_sites(&e))
		return FAILED;
	if (suggest(&e, &s)) {
		cover(&e, &s);
		qsort(s.places, s.nr, sizeof(*s.places), by_bytes);
		print(&s);
		if (!ensure_knows_functions())
			p_info("Note: only root can see which of them can be traced");
		if (s.without)
			p_info("Note: %lu of %lu overflows have no function to ask in that is entered "
			       "with %u bytes left", s.without, s.overflows, ASKING);
		ret = !opt[OPT_SAVE] || save(&s, opt[OPT_SAVE]) ? DONE : FAILED;
	}
	free(s.places);
	events_free(&e);
	return ret;
}

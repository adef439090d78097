/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Growths of stacks with their call chains, as a file:
 *
 *	stackpolicy-trace 1
 *	release 6.12.117
 *	build_id 17610b1e...
 *	event fault pid=84 class=kthread from=12288 to=16384 limit=32768 ret=0 comm=deep
 *	 528 use_stack+0x2c stack_policy_sample
 *	 20128 ? left-out:640
 *	 56 kthread+0xb5
 *	 184 ? user-registers
 *	event ensure pid=85 class=task from=12288 to=28672 limit=0 ret=0 comm=sh
 *	 - ensure_write+0x40 stack_policy_testmod
 *	lost 0
 *
 * A frame has its bytes of stack or "-", function and offset, and its module. "?" is no
 * function: where unwinding failed; frames between the innermost and the outermost
 * ones, and how many; the registers of user mode. The innermost function comes first. All
 * frames but that of a fault's innermost function have return addresses, which belong to
 * the call.
 * Nothing comes after "lost".
 */
#ifndef _STACKPOLICY_EVENTS_H
#define _STACKPOLICY_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define EVENT_FRAMES	128
#define FUNCTION_MAX	128
#define MODULE_MAX	64

/* As the kernel numbers them where it has no address. */
enum frame_kind {
	FRAME_NOT_UNWOUND,
	FRAME_LEFT_OUT,
	FRAME_USER_REGS,
	FRAME_FUNCTION,
};

struct event_frame {
	enum frame_kind	kind;
	unsigned int	left_out;	/* frames, of FRAME_LEFT_OUT */
	const char	*function;	/* empty if it is none; owned by struct events */
	const char	*module;	/* empty: the kernel itself */
	unsigned int	offset;
	int		bytes;		/* -1: not known */
};

struct event {
	bool			fault;		/* an overflow; else somebody asked */
	int			pid;
	char			class[32];
	char			comm[16];
	unsigned int		from, to, limit;
	int			ret;		/* of stack_ensure() */
	size_t			number;		/* in the order of the recording */
	unsigned long		times;		/* how many overflows it stands for */
	unsigned int		nr_frames;
	struct event_frame	*frames;
};

struct events {
	char			release[64];
	char			build_id[41];
	unsigned long		lost;
	size_t			nr, room;
	struct event		*event;
	size_t			nr_frames;	/* of all events */
	/* Names of functions and modules, each once: a hash table. */
	size_t			nr_names, names_room;
	char			**names;
};

/* Is there no room for one more event, whatever frames it has? */
bool events_full(const struct events *e);
/* Return: a new event, all zero, or NULL after an error. */
struct event *events_add(struct events *e);
/*
 * Return: a new frame of @event in that function, at its beginning, its bytes not
 * known; FRAME_NOT_UNWOUND without a name. NULL if @event has too many, or after an
 * error.
 */
struct event_frame *event_add_frame(struct events *e, struct event *event,
				    const char *function, const char *module);
/* Return: false after an error, that names the line. */
bool events_read(const char *path, struct events *e);
/* The same from the running kernel's memory of them. */
bool events_read_sites(struct events *e);
/* Names end up on terminals and in JSON. */
void events_make_printable(char *line);
void events_write(FILE *file, const struct events *e);
void events_free(struct events *e);

#endif /* _STACKPOLICY_EVENTS_H */

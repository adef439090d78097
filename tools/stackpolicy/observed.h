/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Call chains that were seen in a running kernel, beside what its image tells:
 * calls that only they know, and whether the rest agrees.
 */
#ifndef _STACKPOLICY_OBSERVED_H
#define _STACKPOLICY_OBSERVED_H

#include "calls.h"
#include "depth.h"
#include "events.h"

/* One frame that differs, or one chain that is deeper than its bound. */
struct surprise {
	const char	*function;	/* of the frame; of the chain the entry */
	int32_t		observed, expected;
};

#define MAX_SURPRISES	32

struct observed {
	struct events	e;
	bool		by_type;	/* in: the graph has calls resolved by type */
	size_t		links;		/* from a frame to the next one, in the kernel itself */
	size_t		resolved;	/* of these: where the call was resolved, rightly */
	size_t		wrong;		/* where it was resolved, and led elsewhere */
	size_t		added;		/* edges that were not in the graph */
	size_t		frames;		/* whose bytes could be compared */
	size_t		chains;		/* whose depth could be compared */
	int32_t		deepest;	/* of these */
	struct surprise	differ[MAX_SURPRISES], deeper[MAX_SURPRISES];
	size_t		nr_differ, nr_deeper;
};

/*
 * Read @path, compare its frames, and put the calls that are missing into @g, which
 * has not been searched yet. Return: false after an error.
 */
bool observed_add(struct observed *o, const char *path, const struct vmlinux *v,
		  const struct calls *c, struct graph *g);

/* Is @from @to, or does it end in a jump there? By a few more jumps, too. */
bool jumps_to(const struct calls *c, uint32_t from, uint32_t to, int jumps);

#define MAX_JUMPS	3

/* The entry that begins in a routine, and the bytes before it; false: there is none. */
typedef bool (*find_entry_fn)(const void *arg, uint32_t routine, uint32_t *entry, int32_t *base);

/*
 * After the search: is a chain deeper than those with as many calls back from the
 * same entry? Return: true if everything agrees.
 */
bool observed_compare(struct observed *o, const struct vmlinux *v, const struct calls *c,
		      struct graph *g, find_entry_fn find_entry, const void *arg);
void observed_free(struct observed *o);

#endif /* _STACKPOLICY_OBSERVED_H */

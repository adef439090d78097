/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The deepest chain of calls from each routine on. Knows a graph with bytes on its
 * edges, not where it comes from.
 *
 * A cycle has no deepest chain, so a depth is always that of a chain with at most
 * so many calls back: a call back is one to a routine that the search, which goes
 * from the root along calls in their order, was still busy with. Each cycle has one
 * at least. A chain without any has no routine twice.
 */
#ifndef _STACKPOLICY_DEPTH_H
#define _STACKPOLICY_DEPTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NO_EDGE		UINT32_MAX
#define MAX_RECURSE	16

struct edge {
	uint32_t	from, to;
	int32_t		bytes;
	uint32_t	call;		/* the caller's business */
	bool		back;
};

struct graph {
	uint32_t	nr_nodes;
	int32_t		*own;		/* bytes of a node without callees */
	struct edge	*edges;		/* by from, once it is sorted */
	size_t		nr_edges, room;
	size_t		*first;		/* edges of node n: first[n] .. first[n + 1] */

	/* Of the last search: */
	uint32_t	*order;		/* callees before callers, but for calls back */
	uint32_t	nr_reached;
	uint32_t	nr_back;
	int32_t		*depth[MAX_RECURSE + 1];	/* with up to that many calls back */
	uint32_t	*next[MAX_RECURSE + 1];		/* edge that it comes from */

	/* While it searches: */
	unsigned char	*colour;
	uint32_t	*way;
	size_t		*at;
};

/* These return false without memory. No edges are added once it is sorted. */
bool graph_init(struct graph *g, uint32_t nr_nodes);
bool graph_add(struct graph *g, uint32_t from, uint32_t to, int32_t bytes, uint32_t call);
bool graph_sort(struct graph *g);
/* All chains from @root, with up to @recurse calls back. */
bool graph_search(struct graph *g, uint32_t root, unsigned int recurse);
void graph_free(struct graph *g);

/* Bytes of the deepest chain from @node on. */
int32_t graph_depth(const struct graph *g, uint32_t node, unsigned int recurse);
/*
 * The edge that the deepest chain takes from @node on, or NULL at its end. @recurse
 * comes in with the calls back that are left, and goes out so.
 */
const struct edge *graph_next(const struct graph *g, uint32_t node, unsigned int *recurse);

#endif /* _STACKPOLICY_DEPTH_H */

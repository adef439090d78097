// SPDX-License-Identifier: GPL-2.0
/* A depth-first search that finds the calls back, then longest paths in what is left. */
#include <stdlib.h>
#include <string.h>

#include "depth.h"

enum colour {
	WHITE,		/* not seen */
	GREY,		/* on the way that the search is on */
	BLACK,		/* done */
};

bool graph_init(struct graph *g, uint32_t nr_nodes)
{
	*g = (struct graph){ .nr_nodes = nr_nodes };
	g->own = calloc(nr_nodes, sizeof(*g->own));
	return g->own;
}

bool graph_add(struct graph *g, uint32_t from, uint32_t to, int32_t bytes, uint32_t call)
{
	if (g->nr_edges == g->room) {
		size_t room = g->room * 2 + 65536;
		struct edge *more = reallocarray(g->edges, room, sizeof(*more));

		if (!more)
			return false;
		g->edges = more;
		g->room = room;
	}
	g->edges[g->nr_edges++] = (struct edge){ from, to, bytes, call, false };
	return true;
}

/* Edges of one node together, in the order in which they were added. */
bool graph_sort(struct graph *g)
{
	struct edge *sorted = calloc(g->nr_edges + 1, sizeof(*sorted));
	size_t i, n = 0;

	g->first = calloc(g->nr_nodes + 1, sizeof(*g->first));
	g->at = calloc(g->nr_nodes + 1, sizeof(*g->at));
	g->order = calloc(g->nr_nodes + 1, sizeof(*g->order));
	g->colour = calloc(g->nr_nodes + 1, sizeof(*g->colour));
	g->way = calloc(g->nr_nodes + 1, sizeof(*g->way));
	if (!sorted || !g->first || !g->at || !g->order || !g->colour || !g->way) {
		free(sorted);
		return false;
	}
	for (i = 0; i < g->nr_edges; i++)
		g->at[g->edges[i].from]++;
	for (i = 0; i <= g->nr_nodes; i++) {
		g->first[i] = n;
		n += g->at[i];
		g->at[i] = g->first[i];
	}
	for (i = 0; i < g->nr_edges; i++)
		sorted[g->at[g->edges[i].from]++] = g->edges[i];
	free(g->edges);
	g->edges = sorted;
	return true;
}

/* Without recursion of our own: chains can be as long as there are functions. */
static void find_back(struct graph *g, uint32_t root)
{
	size_t depth = 0;

	memset(g->colour, WHITE, g->nr_nodes);
	g->nr_reached = 0;
	g->nr_back = 0;
	g->way[depth] = root;
	g->at[depth++] = g->first[root];
	g->colour[root] = GREY;
	while (depth) {
		uint32_t node = g->way[depth - 1];
		struct edge *edge;

		if (g->at[depth - 1] == g->first[node + 1]) {
			g->colour[node] = BLACK;
			g->order[g->nr_reached++] = node;
			depth--;
			continue;
		}
		edge = &g->edges[g->at[depth - 1]++];
		edge->back = g->colour[edge->to] == GREY;
		g->nr_back += edge->back;
		if (g->colour[edge->to] == WHITE) {
			g->colour[edge->to] = GREY;
			g->way[depth] = edge->to;
			g->at[depth++] = g->first[edge->to];
		}
	}
}

/* Callees come first, so theirs is known; that of a call back from the layer before. */
static void measure(struct graph *g, unsigned int layer)
{
	uint32_t i;
	size_t e;

	for (i = 0; i < g->nr_reached; i++) {
		uint32_t node = g->order[i], best = NO_EDGE;
		int32_t most = g->own[node];

		for (e = g->first[node]; e < g->first[node + 1]; e++) {
			const struct edge *edge = &g->edges[e];
			int32_t bytes;

			if (edge->back && !layer)
				continue;
			bytes = edge->bytes + g->depth[layer - edge->back][edge->to];
			if (bytes > most) {
				most = bytes;
				best = e;
			}
		}
		g->depth[layer][node] = most;
		g->next[layer][node] = best;
	}
}

bool graph_search(struct graph *g, uint32_t root, unsigned int recurse)
{
	unsigned int layer;

	find_back(g, root);
	for (layer = 0; layer <= recurse; layer++) {
		if (!g->depth[layer]) {
			g->depth[layer] = calloc(g->nr_nodes, sizeof(**g->depth));
			g->next[layer] = calloc(g->nr_nodes, sizeof(**g->next));
		}
		if (!g->depth[layer] || !g->next[layer])
			return false;
		measure(g, layer);
	}
	return true;
}

void graph_free(struct graph *g)
{
	unsigned int layer;

	free(g->own);
	free(g->edges);
	free(g->first);
	free(g->order);
	free(g->colour);
	free(g->way);
	free(g->at);
	for (layer = 0; layer <= MAX_RECURSE; layer++) {
		free(g->depth[layer]);
		free(g->next[layer]);
	}
}

int32_t graph_depth(const struct graph *g, uint32_t node, unsigned int recurse)
{
	return g->depth[recurse][node];
}

const struct edge *graph_next(const struct graph *g, uint32_t node, unsigned int *recurse)
{
	uint32_t next = g->next[*recurse][node];

	if (next == NO_EDGE)
		return NULL;
	*recurse -= g->edges[next].back;
	return &g->edges[next];
}

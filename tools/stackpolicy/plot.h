/* SPDX-License-Identifier: GPL-2.0 */
/* SVG pictures. Knows neither the kernel nor stacks: names, numbers, colours. */
#ifndef _STACKPOLICY_PLOT_H
#define _STACKPOLICY_PLOT_H

#include <stddef.h>
#include <stdio.h>

/* Bars of one panel: two series over the same bins, each scaled to its own sum. */
struct plot_panel {
	const char			*title;
	const unsigned long long	*series[2];
};

/* Panels under each other, bin i labelled i + 1; only the first bins, as used. */
void plot_panels(FILE *out, const char *title, const char *x_label,
		 const char * const series_names[2], const struct plot_panel *panels,
		 size_t nr_panels, size_t nr_bins);

/* A box of a flame graph: a name over what is called in it. */
struct plot_frame {
	const char		*name;
	unsigned long long	weight;		/* with all above it */
	struct plot_frame	*child, *next;
};

/* A flame graph, the root at the bottom. @unit: what the weights are. */
void plot_flame(FILE *out, const char *title, const char *unit,
		const struct plot_frame *root);

#endif /* _STACKPOLICY_PLOT_H */

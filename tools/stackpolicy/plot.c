// SPDX-License-Identifier: GPL-2.0
/*
 * SVG 1.1 without script, for browsers and documents alike. What a box means is
 * in its <title>, which a browser shows under the pointer.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "plot.h"

#define WIDTH		900
#define MARGIN		50
#define PANEL_HEIGHT	150
#define BAR_HEIGHT	100
#define FRAME_HEIGHT	17
#define CHAR_WIDTH	6.6

static const char * const colours[2] = { "#4878a8", "#d08030" };

static void escape(FILE *out, const char *text, size_t max)
{
	for (; *text && max; text++, max--) {
		if (strchr("<>&\"", *text))
			fprintf(out, "&#%d;", *text);
		else
			fputc(*text, out);
	}
}

static void begin(FILE *out, size_t height, const char *title)
{
	fprintf(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%zu\" "
		"viewBox=\"0 0 %d %zu\" font-family=\"monospace\" font-size=\"11\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
		"<text x=\"%d\" y=\"22\" font-size=\"15\">", WIDTH, height, WIDTH, height, MARGIN);
	escape(out, title, SIZE_MAX);
	fprintf(out, "</text>\n");
}

static unsigned long long sum(const unsigned long long *bins, size_t nr)
{
	unsigned long long n = 0;

	while (nr--)
		n += bins[nr];
	return n;
}

static void panel_bars(FILE *out, const struct plot_panel *panel, int series, size_t nr_bins,
		       const char *name, size_t bottom)
{
	unsigned long long total = sum(panel->series[series], nr_bins);
	double step = (double)(WIDTH - 2 * MARGIN) / nr_bins, width = step * 0.4;
	size_t i;

	for (i = 0; i < nr_bins && total; i++) {
		unsigned long long n = panel->series[series][i];
		double share = (double)n / total;

		if (!n)
			continue;
		fprintf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
			"fill=\"%s\"><title>%s, up to %zu: %llu (%.2f %%)</title></rect>\n",
			MARGIN + step * i + (step * 0.1) + width * series,
			bottom - BAR_HEIGHT * share, width, BAR_HEIGHT * share, colours[series],
			name, i + 1, n, 100 * share);
	}
}

void plot_panels(FILE *out, const char *title, const char *x_label,
		 const char * const series_names[2], const struct plot_panel *panels,
		 size_t nr_panels, size_t nr_bins)
{
	double step = (double)(WIDTH - 2 * MARGIN) / nr_bins;
	size_t i, bin;
	int series;

	begin(out, 50 + nr_panels * PANEL_HEIGHT + 20, title);
	for (series = 0; series < 2; series++) {
		fprintf(out, "<rect x=\"%d\" y=\"32\" width=\"10\" height=\"10\" fill=\"%s\"/>\n"
			"<text x=\"%d\" y=\"41\">", MARGIN + 300 * series, colours[series],
			MARGIN + 300 * series + 16);
		escape(out, series_names[series], SIZE_MAX);
		fprintf(out, "</text>\n");
	}
	for (i = 0; i < nr_panels; i++) {
		size_t bottom = 50 + i * PANEL_HEIGHT + BAR_HEIGHT + 20;

		fprintf(out, "<text x=\"%d\" y=\"%zu\">", MARGIN, bottom - BAR_HEIGHT - 6);
		escape(out, panels[i].title, SIZE_MAX);
		fprintf(out, "</text>\n<path d=\"M%d %zuH%d\" stroke=\"black\"/>\n", MARGIN, bottom,
			WIDTH - MARGIN);
		for (series = 0; series < 2; series++)
			panel_bars(out, &panels[i], series, nr_bins, series_names[series], bottom);
		for (bin = 0; bin < nr_bins; bin++)
			fprintf(out, "<text x=\"%.1f\" y=\"%zu\">%zu</text>\n",
				MARGIN + step * (bin + 0.3), bottom + 13, bin + 1);
	}
	fprintf(out, "<text x=\"%d\" y=\"%zu\" text-anchor=\"end\">", WIDTH - MARGIN,
		50 + nr_panels * PANEL_HEIGHT + 6);
	escape(out, x_label, SIZE_MAX);
	fprintf(out, "</text>\n</svg>\n");
}

static size_t levels(const struct plot_frame *frame)
{
	size_t most = 0, n;

	for (; frame; frame = frame->next) {
		n = 1 + levels(frame->child);
		if (n > most)
			most = n;
	}
	return most;
}

/* The same name always has the same colour. */
static unsigned int hash(const char *text)
{
	unsigned int n = 5381;

	while (*text)
		n = n * 33 + (unsigned char)*text++;
	return n;
}

static void flame_frames(FILE *out, const struct plot_frame *frame, const char *unit,
			 unsigned long long total, double x, double y)
{
	for (; frame; frame = frame->next) {
		double width = (double)frame->weight / total * (WIDTH - 20);
		unsigned int colour = hash(frame->name);
		size_t chars = width > 10 ? (width - 6) / CHAR_WIDTH : 0;

		fprintf(out, "<g><title>");
		escape(out, frame->name, SIZE_MAX);
		fprintf(out, ": %llu %s, %.1f %%</title><rect x=\"%.1f\" y=\"%.1f\" width=\"%.2f\" "
			"height=\"%d\" fill=\"rgb(%u,%u,%u)\" rx=\"1\"/>", frame->weight, unit,
			100.0 * frame->weight / total, x, y, width, FRAME_HEIGHT - 1,
			205 + colour % 50, 90 + colour / 64 % 130, colour / 8192 % 55);
		if (chars > 2) {
			fprintf(out, "<text x=\"%.1f\" y=\"%.1f\">", x + 3, y + 12);
			escape(out, frame->name, chars);
			fprintf(out, "</text>");
		}
		fprintf(out, "</g>\n");
		flame_frames(out, frame->child, unit, total, x, y - FRAME_HEIGHT);
		x += width;
	}
}

void plot_flame(FILE *out, const char *title, const char *unit,
		const struct plot_frame *root)
{
	size_t height = 50 + levels(root) * FRAME_HEIGHT + 10;

	begin(out, height, title);
	if (root && root->weight)
		flame_frames(out, root, unit, root->weight, 10, height - FRAME_HEIGHT - 10);
	fprintf(out, "</svg>\n");
}

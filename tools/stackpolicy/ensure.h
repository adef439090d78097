/* SPDX-License-Identifier: GPL-2.0 */
/* The two halves of stackpolicy ensure. */
#ifndef _STACKPOLICY_ENSURE_H
#define _STACKPOLICY_ENSURE_H

#include <stdbool.h>
#include <stdio.h>

#include "events.h"

/* Places for "add", from a recording, or from what the kernel remembers. */
int ensure_suggest(int argc, char **argv);

/* Does this machine tell us which functions can be traced, and is this one of them? */
bool ensure_knows_functions(void);
bool ensure_can_add(const char *name);

/* Of a file for "restore". */
void ensure_write_header(FILE *file);

#endif /* _STACKPOLICY_ENSURE_H */

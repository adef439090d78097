/* SPDX-License-Identifier: GPL-2.0 */
/* The two halves of stackpolicy trace. */
#ifndef _STACKPOLICY_TRACE_H
#define _STACKPOLICY_TRACE_H

int trace_record(int argc, char **argv);
int trace_report(int argc, char **argv);

#endif /* _STACKPOLICY_TRACE_H */

/* SPDX-License-Identifier: GPL-2.0 */
/* The commands of stackpolicy class that are about cgroups. */
#ifndef _STACKPOLICY_ASSIGN_H
#define _STACKPOLICY_ASSIGN_H

int class_assign(int argc, char **argv);
int class_assigned(int argc, char **argv);

#endif /* _STACKPOLICY_ASSIGN_H */

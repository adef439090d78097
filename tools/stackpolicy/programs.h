/* SPDX-License-Identifier: GPL-2.0 */
/*
 * BPF programs of ours that stay when stackpolicy ends: their links are pinned in folders of
 * the BPF file system, which are root's alone. Knows nothing of what they do.
 */
#ifndef _STACKPOLICY_PROGRAMS_H
#define _STACKPOLICY_PROGRAMS_H

#include <stdbool.h>
#include <stddef.h>

#include <bpf/btf.h>

/* The types of the running kernel, or NULL. */
struct btf *programs_btf(void);

/* Can they be, with @kfunc to call? False: an error says why not. */
bool programs_available(const char *kfunc);

/*
 * The folder of that name, made if @create. Return: an fd, -1 after an error, or
 * PROGRAMS_NONE if it is not there.
 */
#define PROGRAMS_NONE	-2
int programs_open(const char *name, bool create);

/* The path of a pin in @folder, for bpf(). */
#define PROGRAMS_PATH_MAX	300
void programs_path(char *path, int folder, const char *name);

/* The id of the program that is pinned there, or 0. */
__u32 programs_id(int folder, const char *name);

/* @each with the name of each pin in @folder. Return: false after an error. */
typedef bool (*programs_each_fn)(int folder, const char *name, void *data);
bool programs_walk(int folder, programs_each_fn each, void *data);

#endif /* _STACKPOLICY_PROGRAMS_H */

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What BTF says about functions and structures, for who follows pointers through
 * machine code. Knows no instructions. Without BTF nothing has a type.
 */
#ifndef _STACKPOLICY_TYPES_H
#define _STACKPOLICY_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#define MAX_PARAMS	6	/* that are passed in registers */

struct btf;
struct types;

/* What a pointer may lead to. */
enum pointee {
	TO_UNKNOWN,
	TO_DATA,	/* .id: BTF type, .offset into it */
	TO_CODE,	/* .id: prototype */
};

struct pointer {
	enum pointee	to;
	uint32_t	id;
	int32_t		offset;
};

struct prototype {
	struct pointer	param[MAX_PARAMS];
	struct pointer	result;
};

/* @btf may be NULL. Return: NULL without memory. */
struct types *types_new(const struct btf *btf);
void types_free(struct types *t);

/* The prototype of the function called @name: a number, equal for equal ones; 0: unknown. */
uint32_t types_of_function(const struct types *t, const char *name);

/* One more than the highest such number. */
uint32_t types_nr_prototypes(const struct types *t);

/* What is passed to and comes out of functions of prototype @id. */
const struct prototype *types_prototype(const struct types *t, uint32_t id);

/* The C text of it, in a static buffer. */
const char *types_prototype_text(const struct types *t, uint32_t id);

/* What lies @offset bytes from where @p leads to, as a pointer. */
struct pointer types_load(const struct types *t, struct pointer p, int32_t offset);

/* A pointer to struct @name. */
struct pointer types_to_struct(const struct types *t, const char *name);

/* Its size in bytes, 0: unknown. */
uint32_t types_struct_size(const struct types *t, const char *name);

/* Name of the structure that @p leads into, or NULL. */
const char *types_name(const struct types *t, struct pointer p);

#endif /* _STACKPOLICY_TYPES_H */

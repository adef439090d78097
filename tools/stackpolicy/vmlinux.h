/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A kernel image as a file: sections, functions, the ORC tables, BTF. Takes no
 * word of the file for granted. Knows ELF and ORC, not what calls what.
 */
#ifndef _STACKPOLICY_VMLINUX_H
#define _STACKPOLICY_VMLINUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct btf;

/* A part of the image that is in memory at run time. */
struct section {
	const char		*name;
	uint64_t		address, size;
	const unsigned char	*bytes;		/* NULL: .bss */
	bool			code;
};

/* A function, or one part of it: GCC moves unlikely parts elsewhere. */
struct function {
	uint64_t		start, end;
	const char		*name;
	bool			cold;		/* such a part */
};

struct vmlinux {
	struct section		*sections;
	size_t			nr_sections;
	struct function		*functions;	/* by address, one for each address */
	size_t			nr_functions;
	struct symbol		*symbols;	/* all with a name, by name */
	size_t			nr_symbols;
	const int32_t		*orc_ip;
	const struct orc_entry	*orc;
	size_t			nr_orc;
	uint64_t		orc_ip_address;
	struct btf		*btf;		/* or NULL */
	char			release[64];	/* "6.12.117", or empty */
	char			build_id[41];	/* in hex, or empty */

	struct elf_file		*file;
};

struct symbol {
	const char	*name;
	uint64_t	address, size;
};

/* Return: NULL after an error that names what is wrong with @path. */
struct vmlinux *vmlinux_open(const char *path);
void vmlinux_close(struct vmlinux *v);

/* The function that @address lies in, or NULL. */
struct function *vmlinux_function_at(const struct vmlinux *v, uint64_t address);

/* The first symbol called @name, or NULL. */
const struct symbol *vmlinux_symbol(const struct vmlinux *v, const char *name);

/* @size bytes at @address, or NULL if they are not all in the file. */
const void *vmlinux_bytes(const struct vmlinux *v, uint64_t address, size_t size);

/* What unwinds at @address, or NULL. */
const struct orc_entry *vmlinux_orc(const struct vmlinux *v, uint64_t address);

#endif /* _STACKPOLICY_VMLINUX_H */

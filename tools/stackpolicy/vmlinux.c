// SPDX-License-Identifier: GPL-2.0
/* Reads a vmlinux with libelf; sorts and checks what the others search. */
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/btf.h>

#include <asm/orc_types.h>

#include "main.h"
#include "orc_hash.h"
#include "vmlinux.h"

#ifndef NT_GNU_BUILD_ID
#define NT_GNU_BUILD_ID	3
#endif

static const unsigned char orc_hash[20] = { ORC_HASH };

struct elf_file {
	int	fd;
	Elf	*elf;
	size_t	names;			/* section of the sections' names */
	size_t	size;			/* of the file */
};

static bool open_elf(struct elf_file *f, const char *path)
{
	GElf_Ehdr header;
	off_t size;

	f->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (f->fd < 0) {
		p_err("%s: %s", path, strerror(errno));
		return false;
	}
	size = lseek(f->fd, 0, SEEK_END);
	f->size = size > 0 ? size : 0;
	elf_version(EV_CURRENT);
	f->elf = elf_begin(f->fd, ELF_C_READ_MMAP, NULL);
	if (!f->elf || elf_kind(f->elf) != ELF_K_ELF) {
		p_err("%s is not an ELF file", path);
		return false;
	}
	if (!gelf_getehdr(f->elf, &header) || header.e_machine != EM_X86_64 ||
	    gelf_getclass(f->elf) != ELFCLASS64) {
		p_err("%s is not for x86-64", path);
		return false;
	}
	if (elf_getshdrstrndx(f->elf, &f->names)) {
		p_err("%s: no sections: %s", path, elf_errmsg(-1));
		return false;
	}
	return true;
}

static const char *name_in(struct elf_file *f, size_t section, size_t offset)
{
	const char *name = elf_strptr(f->elf, section, offset);

	return name ? name : "";
}

/* A section's bytes as they lie in the file, all of them. */
static const void *section_bytes(struct elf_file *f, Elf_Scn *scn, const GElf_Shdr *header)
{
	Elf_Data *data;

	if (header->sh_type == SHT_NOBITS || header->sh_offset > f->size ||
	    header->sh_size > f->size - header->sh_offset)
		return NULL;
	data = elf_rawdata(scn, NULL);
	return data && data->d_buf && data->d_size >= header->sh_size ? data->d_buf : NULL;
}

static int by_section_address(const void *a, const void *b)
{
	const struct section *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

static int by_name(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : (x->address < y->address ? -1 : x->address > y->address);
}

/* At one address the longest first; of aliases the shortest name: it is the plain one. */
static int by_address(const void *a, const void *b)
{
	const struct function *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	if (x->end != y->end)
		return x->end > y->end ? -1 : 1;
	if (strlen(x->name) != strlen(y->name))
		return strlen(x->name) < strlen(y->name) ? -1 : 1;
	return strcmp(x->name, y->name);
}

static bool in_code(const struct vmlinux *v, uint64_t address)
{
	size_t i;

	for (i = 0; i < v->nr_sections; i++) {
		const struct section *s = &v->sections[i];

		if (s->code && address >= s->address && address - s->address < s->size)
			return true;
	}
	return false;
}

static bool is_cold(const char *name)
{
	const char *cold = strstr(name, ".cold");

	return cold && cold != name;
}

/*
 * Functions, and what assembler code calls so, or only labels. A label within a
 * function is none; the end of one without a size is the next one's start.
 */
static void keep_functions(struct vmlinux *v, const bool *typed)
{
	struct function *f = v->functions;
	size_t i, kept = 0;

	for (i = 0; i < v->nr_symbols; i++) {
		const struct symbol *s = &v->symbols[i];

		if (!typed[i] || !in_code(v, s->address) || s->size > 1 << 24)
			continue;
		f[kept++] = (struct function){ s->address, s->address + s->size, s->name,
					       is_cold(s->name) };
	}
	qsort(f, kept, sizeof(*f), by_address);
	v->nr_functions = 0;
	for (i = 0; i < kept; i++) {
		if (v->nr_functions && f[i].start == f[v->nr_functions - 1].start)
			continue;
		f[v->nr_functions++] = f[i];
	}
	for (i = 0; i < v->nr_functions; i++) {
		uint64_t next = i + 1 < v->nr_functions ? f[i + 1].start : f[i].end;

		if (f[i].end == f[i].start || f[i].end > next)
			f[i].end = next;
	}
}

static bool read_symbols(struct vmlinux *v, Elf_Scn *scn, const GElf_Shdr *header)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t i, nr = data ? data->d_size / sizeof(Elf64_Sym) : 0;
	bool *typed;
	GElf_Sym sym;

	v->symbols = calloc(nr + 1, sizeof(*v->symbols));
	v->functions = calloc(nr + 1, sizeof(*v->functions));
	typed = calloc(nr + 1, sizeof(*typed));
	if (!v->symbols || !v->functions || !typed) {
		free(typed);
		p_err("no memory for %zu symbols", nr);
		return false;
	}
	for (i = 0; i < nr; i++) {
		struct symbol *s = &v->symbols[v->nr_symbols];

		if (!gelf_getsym(data, i, &sym) || !sym.st_name)
			continue;
		s->name = name_in(v->file, header->sh_link, sym.st_name);
		s->address = sym.st_value;
		s->size = sym.st_size;
		if (!*s->name || s->size > UINT64_MAX - s->address)
			continue;
		typed[v->nr_symbols++] = GELF_ST_TYPE(sym.st_info) == STT_FUNC;
	}
	keep_functions(v, typed);
	free(typed);
	qsort(v->symbols, v->nr_symbols, sizeof(*v->symbols), by_name);
	return true;
}

static void read_build_id(struct vmlinux *v, const unsigned char *notes, size_t size)
{
	size_t at = 0, i;

	while (notes && size - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr note;
		size_t name, desc;

		memcpy(&note, notes + at, sizeof(note));
		name = at + sizeof(note);
		desc = name + ((note.n_namesz + 3ULL) & ~3ULL);
		if (note.n_namesz > size || note.n_descsz > size || desc > size ||
		    note.n_descsz > size - desc)
			return;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
		    !memcmp(notes + name, "GNU", 4)) {
			for (i = 0; i < note.n_descsz && i < 20; i++)
				sprintf(v->build_id + 2 * i, "%02x", notes[desc + i]);
			return;
		}
		at = desc + ((note.n_descsz + 3ULL) & ~3ULL);
		if (at > size)
			return;
	}
}

static void read_release(struct vmlinux *v)
{
	const struct symbol *banner = vmlinux_symbol(v, "linux_banner");
	const char *text = banner ? vmlinux_bytes(v, banner->address, 80) : NULL;
	static const char start[] = "Linux version ";

	if (text && !strncmp(text, start, sizeof(start) - 1))
		sscanf(text + sizeof(start) - 1, "%63[!-~]", v->release);
}

static const struct section *find_section(const struct vmlinux *v, const char *name)
{
	size_t i;

	for (i = 0; i < v->nr_sections; i++) {
		if (!strcmp(v->sections[i].name, name))
			return &v->sections[i];
	}
	return NULL;
}

static uint64_t orc_address(const struct vmlinux *v, size_t i)
{
	return v->orc_ip_address + 4 * i + v->orc_ip[i];
}

/* The format has no number: the kernel puts a hash of its definition beside it. */
static bool read_orc(struct vmlinux *v, const char *path)
{
	const struct section *ip = find_section(v, ".orc_unwind_ip");
	const struct section *unwind = find_section(v, ".orc_unwind");
	const struct section *hash = find_section(v, ".orc_header");
	size_t i;

	if (!ip || !unwind) {
		p_err("%s has no ORC tables: CONFIG_UNWINDER_ORC=y is needed", path);
		return false;
	}
	if (!hash || !hash->bytes || hash->size < sizeof(orc_hash) ||
	    memcmp(hash->bytes, orc_hash, sizeof(orc_hash))) {
		p_err("%s has the ORC format of another kernel version", path);
		return false;
	}
	v->nr_orc = ip->size / sizeof(int32_t);
	if (!ip->bytes || !unwind->bytes || !v->nr_orc ||
	    unwind->size / sizeof(struct orc_entry) != v->nr_orc) {
		p_err("%s: its ORC tables are damaged", path);
		return false;
	}
	v->orc_ip = (const int32_t *)ip->bytes;
	v->orc = (const struct orc_entry *)unwind->bytes;
	v->orc_ip_address = ip->address;
	for (i = 1; i < v->nr_orc; i++) {
		if (orc_address(v, i - 1) > orc_address(v, i)) {
			p_err("%s: its ORC tables are not sorted", path);
			return false;
		}
	}
	return true;
}

static bool read_sections(struct vmlinux *v, const char *path)
{
	Elf_Scn *scn = NULL, *symtab = NULL;
	GElf_Shdr header, symtab_header = {};
	size_t nr = 0;

	if (elf_getshdrnum(v->file->elf, &nr) || !nr) {
		p_err("%s: no sections", path);
		return false;
	}
	v->sections = calloc(nr, sizeof(*v->sections));
	if (!v->sections) {
		p_err("no memory for %zu sections", nr);
		return false;
	}
	while ((scn = elf_nextscn(v->file->elf, scn)) && v->nr_sections < nr) {
		struct section *s = &v->sections[v->nr_sections];

		if (!gelf_getshdr(scn, &header))
			continue;
		if (header.sh_type == SHT_SYMTAB) {
			symtab = scn;
			symtab_header = header;
		}
		if (!(header.sh_flags & SHF_ALLOC) || !header.sh_size ||
		    header.sh_size > UINT64_MAX - header.sh_addr)
			continue;
		s->name = name_in(v->file, v->file->names, header.sh_name);
		s->address = header.sh_addr;
		s->size = header.sh_size;
		s->bytes = section_bytes(v->file, scn, &header);
		s->code = header.sh_flags & SHF_EXECINSTR;
		if (!s->bytes && header.sh_type != SHT_NOBITS) {
			p_err("%s is truncated: section %s is not all there", path, s->name);
			return false;
		}
		v->nr_sections++;
	}
	qsort(v->sections, v->nr_sections, sizeof(*v->sections), by_section_address);
	if (!symtab) {
		p_err("%s has no symbols: is it stripped, or a bzImage's payload?", path);
		return false;
	}
	return read_symbols(v, symtab, &symtab_header);
}

struct vmlinux *vmlinux_open(const char *path)
{
	struct vmlinux *v = calloc(1, sizeof(*v));
	const struct section *s;

	if (v)
		v->file = calloc(1, sizeof(*v->file));
	if (!v || !v->file) {
		p_err("no memory");
		free(v);
		return NULL;
	}
	if (!open_elf(v->file, path) || !read_sections(v, path) || !read_orc(v, path))
		goto close;
	if (!v->nr_functions) {
		p_err("%s has no functions", path);
		goto close;
	}
	s = find_section(v, ".notes");
	if (s && s->bytes)
		read_build_id(v, s->bytes, s->size);
	read_release(v);
	s = find_section(v, ".BTF");
	if (s && s->bytes && s->size <= UINT32_MAX)
		v->btf = btf__new(s->bytes, s->size);
	return v;
close:
	vmlinux_close(v);
	return NULL;
}

void vmlinux_close(struct vmlinux *v)
{
	btf__free(v->btf);
	if (v->file->elf)
		elf_end(v->file->elf);
	if (v->file->fd >= 0)
		close(v->file->fd);
	free(v->file);
	free(v->sections);
	free(v->functions);
	free(v->symbols);
	free(v);
}

struct function *vmlinux_function_at(const struct vmlinux *v, uint64_t address)
{
	size_t low = 0, high = v->nr_functions;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (v->functions[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || address >= v->functions[low - 1].end)
		return NULL;
	return &v->functions[low - 1];
}

const struct symbol *vmlinux_symbol(const struct vmlinux *v, const char *name)
{
	size_t low = 0, high = v->nr_symbols;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strcmp(v->symbols[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == v->nr_symbols || strcmp(v->symbols[low].name, name))
		return NULL;
	return &v->symbols[low];
}

const void *vmlinux_bytes(const struct vmlinux *v, uint64_t address, size_t size)
{
	size_t i;

	for (i = 0; i < v->nr_sections; i++) {
		const struct section *s = &v->sections[i];

		if (s->bytes && address >= s->address && address - s->address < s->size &&
		    size <= s->size - (address - s->address))
			return s->bytes + (address - s->address);
	}
	return NULL;
}

const struct orc_entry *vmlinux_orc(const struct vmlinux *v, uint64_t address)
{
	size_t low = 0, high = v->nr_orc;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (orc_address(v, middle) <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &v->orc[low - 1] : NULL;
}

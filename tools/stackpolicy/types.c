// SPDX-License-Identifier: GPL-2.0
/*
 * Prototypes are compared as C does in an indirect call: names of parameters,
 * typedefs and qualifiers do not count.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/btf.h>

#include "types.h"

#define MAX_DEPTH	16	/* of structures in structures, pointers to pointers */
#define MAX_NESTED	3	/* of functions passed to functions */
#define TEXT_MAX	4096

struct named {
	const char	*name;
	uint32_t	prototype;	/* 0: several that differ */
};

struct types {
	const struct btf	*btf;
	uint32_t		nr_ids;
	uint32_t		*number;	/* of a FUNC_PROTO's id; equal for equal ones */
	uint32_t		*first;		/* id of the first one with that number */
	struct prototype	*prototypes;	/* by number */
	uint32_t		nr_prototypes;
	struct named		*functions;	/* by name */
	size_t			nr_functions;
};

static const struct btf_type *skip(const struct btf *btf, uint32_t *id)
{
	const struct btf_type *type = btf__type_by_id(btf, *id);
	int depth;

	for (depth = 0; type && depth < MAX_DEPTH &&
	     (btf_is_mod(type) || btf_is_typedef(type) || btf_is_type_tag(type)); depth++) {
		*id = type->type;
		type = btf__type_by_id(btf, *id);
	}
	return type;
}

static size_t prototype_text(const struct btf *btf, const struct btf_type *proto, int depth,
			     char *text, size_t size);

/* One type in a text that is the same for compatible types. Return: its length. */
static size_t type_text(const struct btf *btf, uint32_t id, int depth, char *text, size_t size)
{
	static const char many[] = "****************";
	const struct btf_type *type;
	size_t len;
	int stars = 0;

	for (type = skip(btf, &id); type && btf_is_ptr(type) && stars < MAX_DEPTH; stars++) {
		id = type->type;
		type = skip(btf, &id);
	}
	if (!type || !id)
		return snprintf(text, size, "void%.*s", stars, many);
	if (btf_is_func_proto(type)) {
		/* What is passed to a function that is passed matters as well. */
		if (depth == MAX_NESTED)
			return snprintf(text, size, "function%.*s", stars, many);
		len = snprintf(text, size, "{");
		len += prototype_text(btf, type, depth + 1, text + len, size - len);
		if (len < size)
			len += snprintf(text + len, size - len, "}%.*s", stars, many);
		return len;
	}
	return snprintf(text, size, "%s%s%.*s", btf_is_composite(type) || btf_is_fwd(type) ?
			"struct " : "", btf__name_by_offset(btf, type->name_off) ?: "?", stars,
			many);
}

static size_t prototype_text(const struct btf *btf, const struct btf_type *proto, int depth,
			     char *text, size_t size)
{
	const struct btf_param *param = btf_params(proto);
	size_t at = type_text(btf, proto->type, depth, text, size);
	int i;

	for (i = 0; i < btf_vlen(proto) && at < size; i++) {
		at += snprintf(text + at, size - at, i ? ", " : " (");
		if (at < size)
			at += type_text(btf, param[i].type, depth, text + at, size - at);
	}
	if (at < size)
		at += snprintf(text + at, size - at, i ? ")" : " (void)");
	return at;
}

struct text {
	uint32_t	id;
	char		*text;
};

static int by_text(const void *a, const void *b)
{
	const struct text *x = a, *y = b;
	int order = strcmp(x->text, y->text);

	return order ? order : (x->id < y->id ? -1 : x->id > y->id);
}

/* Where pointer type @id leads to. */
static struct pointer pointer_of(const struct types *t, uint32_t id)
{
	const struct btf_type *type = skip(t->btf, &id);
	struct pointer p = {};

	if (!type || !btf_is_ptr(type))
		return p;
	id = type->type;
	type = skip(t->btf, &id);
	if (!type || !id)
		return p;
	if (btf_is_func_proto(type)) {
		p.to = TO_CODE;
		p.id = t->number[id];
	} else {
		p.to = TO_DATA;
		p.id = id;
	}
	return p;
}

/* Parameters by register: two for a structure of up to 16 bytes, none if larger. */
static void fill_prototype(struct types *t, const struct btf_type *proto, struct prototype *p)
{
	const struct btf_param *param = btf_params(proto);
	int i, reg = 0;

	for (i = 0; i < btf_vlen(proto) && reg < MAX_PARAMS; i++) {
		uint32_t id = param[i].type;
		const struct btf_type *type = skip(t->btf, &id);

		if (type && btf_is_composite(type)) {
			reg += type->size > 16 ? 0 : type->size > 8 ? 2 : 1;
			continue;
		}
		p->param[reg++] = pointer_of(t, param[i].type);
	}
	p->result = pointer_of(t, proto->type);
}

/* Give equal prototypes equal numbers, from 1. */
static bool number_prototypes(struct types *t)
{
	struct text *texts = calloc(t->nr_ids, sizeof(*texts));
	uint32_t id, i, nr = 0;
	char text[TEXT_MAX];
	bool ok = texts;

	for (id = 1; ok && id < t->nr_ids; id++) {
		const struct btf_type *type = btf__type_by_id(t->btf, id);

		if (!type || !btf_is_func_proto(type))
			continue;
		prototype_text(t->btf, type, 0, text, sizeof(text));
		texts[nr] = (struct text){ id, strdup(text) };
		ok = texts[nr++].text;
	}
	if (ok && nr)
		qsort(texts, nr, sizeof(*texts), by_text);
	t->first = calloc(nr + 1, sizeof(*t->first));
	t->prototypes = calloc(nr + 1, sizeof(*t->prototypes));
	ok &= t->first && t->prototypes;
	for (i = 0; ok && i < nr; i++) {
		if (!i || strcmp(texts[i].text, texts[i - 1].text))
			t->first[++t->nr_prototypes] = texts[i].id;
		t->number[texts[i].id] = t->nr_prototypes;
	}
	for (i = 1; ok && i <= t->nr_prototypes; i++)
		fill_prototype(t, btf__type_by_id(t->btf, t->first[i]), &t->prototypes[i]);
	while (nr)
		free(texts[--nr].text);
	free(texts);
	return ok;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static bool name_functions(struct types *t)
{
	uint32_t id;
	size_t i, kept = 0;

	t->functions = calloc(t->nr_ids, sizeof(*t->functions));
	if (!t->functions)
		return false;
	for (id = 1; id < t->nr_ids; id++) {
		const struct btf_type *type = btf__type_by_id(t->btf, id);
		const char *name;

		if (!type || !btf_is_func(type) || type->type >= t->nr_ids)
			continue;
		name = btf__name_by_offset(t->btf, type->name_off);
		if (name)
			t->functions[t->nr_functions++] =
				(struct named){ name, t->number[type->type] };
	}
	qsort(t->functions, t->nr_functions, sizeof(*t->functions), by_name);
	for (i = 0; i < t->nr_functions; i++) {
		struct named *last = kept ? &t->functions[kept - 1] : NULL;

		if (!last || strcmp(last->name, t->functions[i].name))
			t->functions[kept++] = t->functions[i];
		else if (last->prototype != t->functions[i].prototype)
			last->prototype = 0;
	}
	t->nr_functions = kept;
	return true;
}

struct types *types_new(const struct btf *btf)
{
	struct types *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->btf = btf;
	t->nr_ids = btf ? btf__type_cnt(btf) : 0;
	t->number = calloc(t->nr_ids + 1, sizeof(*t->number));
	if (t->number && (!btf || (number_prototypes(t) && name_functions(t))))
		return t;
	types_free(t);
	return NULL;
}

void types_free(struct types *t)
{
	free(t->number);
	free(t->first);
	free(t->prototypes);
	free(t->functions);
	free(t);
}

uint32_t types_of_function(const struct types *t, const char *name)
{
	struct named key = { .name = name }, *found;

	if (!t->nr_functions)
		return 0;
	found = bsearch(&key, t->functions, t->nr_functions, sizeof(key), by_name);
	return found ? found->prototype : 0;
}

uint32_t types_nr_prototypes(const struct types *t)
{
	return t->nr_prototypes + 1;
}

const struct prototype *types_prototype(const struct types *t, uint32_t id)
{
	static const struct prototype unknown;

	return id && id <= t->nr_prototypes ? &t->prototypes[id] : &unknown;
}

const char *types_prototype_text(const struct types *t, uint32_t id)
{
	static char text[TEXT_MAX];

	if (!id || id > t->nr_prototypes)
		return "?";
	prototype_text(t->btf, btf__type_by_id(t->btf, t->first[id]), 0, text, sizeof(text));
	return text;
}

/*
 * The pointer at @offset in type @id. In a union the members have to agree.
 * @found: how many there are.
 */
static struct pointer load_from(const struct types *t, uint32_t id, int64_t offset, int depth,
				int *found)
{
	const struct btf_type *type = skip(t->btf, &id);
	struct pointer p = {}, one;
	int i;

	if (!type || depth > MAX_DEPTH || offset < 0)
		return p;
	if (btf_is_ptr(type) && !offset) {
		(*found)++;
		return pointer_of(t, id);
	}
	if (btf_is_array(type)) {
		int64_t size = btf__resolve_size(t->btf, btf_array(type)->type);

		if (size <= 0)
			return p;
		return load_from(t, btf_array(type)->type, offset % size, depth + 1, found);
	}
	if (!btf_is_composite(type))
		return p;
	for (i = 0; i < btf_vlen(type); i++) {
		uint32_t bits = btf_member_bit_offset(type, i);
		uint32_t member = btf_members(type)[i].type;
		int64_t size;

		if (btf_member_bitfield_size(type, i) || bits % 8 || bits / 8 > offset)
			continue;
		size = btf__resolve_size(t->btf, member);
		if (size <= 0 || offset - bits / 8 >= size)
			continue;
		one = load_from(t, member, offset - bits / 8, depth + 1, found);
		if (*found > 1 && (one.to != p.to || one.id != p.id))
			return (struct pointer){};
		if (one.to)
			p = one;
	}
	return p;
}

struct pointer types_load(const struct types *t, struct pointer p, int32_t offset)
{
	int found = 0;

	if (p.to != TO_DATA)
		return (struct pointer){};
	return load_from(t, p.id, (int64_t)p.offset + offset, 0, &found);
}

static const struct btf_type *find_struct(const struct types *t, const char *name, int *id)
{
	*id = t->btf ? btf__find_by_name_kind(t->btf, name, BTF_KIND_STRUCT) : -1;
	return *id > 0 ? btf__type_by_id(t->btf, *id) : NULL;
}

struct pointer types_to_struct(const struct types *t, const char *name)
{
	struct pointer p = {};
	int id;

	if (find_struct(t, name, &id)) {
		p.to = TO_DATA;
		p.id = id;
	}
	return p;
}

uint32_t types_struct_size(const struct types *t, const char *name)
{
	const struct btf_type *type;
	int id;

	type = find_struct(t, name, &id);
	return type ? type->size : 0;
}

const char *types_name(const struct types *t, struct pointer p)
{
	const struct btf_type *type = p.to == TO_DATA ? btf__type_by_id(t->btf, p.id) : NULL;

	return type && btf_is_composite(type) ? btf__name_by_offset(t->btf, type->name_off) : NULL;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Two BPF maps for bpftool and BPF programs: "stack_policy" is the table of
 * classes, "stack_stats" their counters, read-only. Knows how maps work, not
 * what the values mean.
 */
#define pr_fmt(fmt) "stack_policy: " fmt

#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/err.h>
#include <linux/fdtable.h>
#include <linux/init.h>

#include "stack_policy.h"

/* The bpf() system call for callers in the kernel; has no header of its own. */
int kern_sys_bpf(int cmd, union bpf_attr *attr, unsigned int size);

/*
 * What stack_stats returns pointers into. Readers that come at the same time
 * write the same sums, give or take what was counted in between.
 */
static struct stack_policy_stats sums[STACK_CLASS_MAX];

static int get_next_key(struct bpf_map *map, void *key, void *next_key)
{
	u32 class = key ? *(u32 *)key : U32_MAX;

	if (class == STACK_CLASS_MAX - 1)
		return -ENOENT;
	*(u32 *)next_key = class < STACK_CLASS_MAX ? class + 1 : 0;
	return 0;
}

static long delete_elem(struct bpf_map *map, void *key)
{
	return -EINVAL;
}

static u64 mem_usage(const struct bpf_map *map)
{
	return sizeof(struct bpf_array) + (u64)map->max_entries * map->value_size;
}

static void *policy_lookup(struct bpf_map *map, void *key)
{
	u32 class = *(u32 *)key;

	return class < STACK_CLASS_MAX ? (void *)stack_policy_row(class) : NULL;
}

/* The errors are those of an array, and -EINVAL for a row that is not valid. */
static long policy_update(struct bpf_map *map, void *key, void *value, u64 flags)
{
	u32 class = *(u32 *)key;

	if (flags > BPF_EXIST)
		return -EINVAL;
	if (class >= STACK_CLASS_MAX)
		return -E2BIG;
	if (flags == BPF_NOEXIST)
		return -EEXIST;
	return stack_policy_set_row(class, value);
}

static void *stats_lookup(struct bpf_map *map, void *key)
{
	u32 class = *(u32 *)key;
	struct stack_policy_stats sum;
	u64 *from = (u64 *)&sum, *to;
	unsigned int i;

	if (class >= STACK_CLASS_MAX)
		return NULL;
	to = (u64 *)&sums[class];
	stack_policy_sum_stats(class, &sum);
	for (i = 0; i < sizeof(sum) / sizeof(u64); i++)
		WRITE_ONCE(to[i], from[i]);
	return &sums[class];
}

static long stats_update(struct bpf_map *map, void *key, void *value, u64 flags)
{
	return -EPERM;
}

/* A BPF iterator would hand out what is in the array, which is not used. */
static int no_iterator(void *priv, struct bpf_iter_aux_info *aux)
{
	return -EOPNOTSUPP;
}

static const struct bpf_iter_seq_info no_iterator_info = {
	.init_seq_private	= no_iterator,
};

static const struct bpf_map_ops policy_ops = {
	.map_get_next_key	= get_next_key,
	.map_lookup_elem	= policy_lookup,
	.map_update_elem	= policy_update,
	.map_delete_elem	= delete_elem,
	.map_lookup_batch	= generic_map_lookup_batch,
	.map_update_batch	= generic_map_update_batch,
	.map_mem_usage		= mem_usage,
	.iter_seq_info		= &no_iterator_info,
};

static const struct bpf_map_ops stats_ops = {
	.map_get_next_key	= get_next_key,
	.map_lookup_elem	= stats_lookup,
	.map_update_elem	= stats_update,
	.map_delete_elem	= delete_elem,
	.map_lookup_batch	= generic_map_lookup_batch,
	.map_mem_usage		= mem_usage,
	.iter_seq_info		= &no_iterator_info,
};

/* Have bpftool print names; without BTF it prints bytes. */
static void __init set_btf(struct bpf_map *map, const char *value_type)
{
	struct btf *btf = bpf_get_btf_vmlinux();
	s32 key, value;

	if (IS_ERR_OR_NULL(btf))
		return;
	key = btf_find_by_name_kind(btf, "stack_class", BTF_KIND_ENUM);
	value = btf_find_by_name_kind(btf, value_type, BTF_KIND_STRUCT);
	if (key < 0 || value < 0)
		return;
	btf_get(btf);
	map->btf = btf;
	map->btf_key_type_id = key;
	map->btf_value_type_id = value;
}

/*
 * Create an array as user space would, with its id and LSM state, then put our
 * operations in. No user space runs yet, and the reference is never dropped.
 * Programs may read the map only: they would bypass the validation.
 */
static struct bpf_map *__init create(const char *name, unsigned int value_size,
				     const char *value_type,
				     const struct bpf_map_ops *ops)
{
	union bpf_attr attr = {
		.map_type	= BPF_MAP_TYPE_ARRAY,
		.key_size	= sizeof(u32),
		.value_size	= value_size,
		.max_entries	= STACK_CLASS_MAX,
		.map_flags	= BPF_F_RDONLY_PROG,
	};
	struct bpf_map *map;
	int fd;

	strscpy(attr.map_name, name);
	fd = kern_sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
	if (fd < 0) {
		pr_err("no BPF map \"%s\": %d\n", name, fd);
		return ERR_PTR(fd);
	}
	map = bpf_map_get(fd);
	close_fd(fd);
	if (IS_ERR(map))
		return map;
	set_btf(map, value_type);
	map->ops = ops;
	/*
	 * An array cannot be created with this flag, so no template of a
	 * map-in-map is equal to ours, and no program takes it for an array.
	 */
	map->map_flags |= BPF_F_NO_COMMON_LRU;
	return map;
}

static int __init stack_policy_map_init(void)
{
	struct bpf_map *map;

	create("stack_policy", sizeof(struct stack_policy_entry), "stack_policy_entry",
	       &policy_ops);
	map = create("stack_stats", sizeof(struct stack_policy_stats),
		     "stack_policy_stats", &stats_ops);
	if (!IS_ERR(map))
		WRITE_ONCE(map->frozen, true);
	return 0;
}
late_initcall(stack_policy_map_init);

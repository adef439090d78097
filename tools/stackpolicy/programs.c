// SPDX-License-Identifier: GPL-2.0
/*
 * Where the BPF programs of 'ensure' and 'class assign' are, and what they need. Anybody may
 * make folders and links in a BPF file system that was mounted without a mode: nothing there
 * is believed that could be somebody else's.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "main.h"
#include "programs.h"

#define BPFFS	"/sys/fs/bpf"
#define OURS	"stackpolicy"

struct btf *programs_btf(void)
{
	static struct btf *btf;

	if (!btf)
		btf = btf__load_vmlinux_btf();
	return libbpf_get_error(btf) ? NULL : btf;
}

bool programs_available(const char *kfunc)
{
	struct statfs fs;

	if (geteuid()) {
		p_err("this is for root");
		return false;
	}
	if (statfs(BPFFS, &fs) || fs.f_type != BPF_FS_MAGIC) {
		p_err("no BPF file system: mount -t bpf -o mode=700 bpf " BPFFS);
		return false;
	}
	if (!programs_btf()) {
		p_err("this kernel has no type information (CONFIG_DEBUG_INFO_BTF)");
		return false;
	}
	if (btf__find_by_name_kind(programs_btf(), kfunc, BTF_KIND_FUNC) > 0)
		return true;
	p_err("this kernel has no %s()", kfunc);
	return false;
}

/* @name in @folder, or -1; @path is for what is said. */
static int open_folder(int folder, const char *name, bool create, const char *path)
{
	struct statfs fs;
	struct stat st;
	int fd;

	if (create && mkdirat(folder, name, 0700) && errno != EEXIST) {
		p_err("%s: %s", path, strerror(errno));
		return -1;
	}
	fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		if (errno == ENOENT && !create)
			return PROGRAMS_NONE;
		p_err("%s: %s", path, strerror(errno));
		return -1;
	}
	if (!fstat(fd, &st) && !fstatfs(fd, &fs) && fs.f_type == BPF_FS_MAGIC && !st.st_uid &&
	    !(st.st_mode & 0022))
		return fd;
	p_err("%s is not root's alone; remove it", path);
	close(fd);
	return -1;
}

int programs_open(const char *name, bool create)
{
	int bpffs = open(BPFFS, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ours, folder;
	char path[PROGRAMS_PATH_MAX];

	if (bpffs < 0) {
		p_err(BPFFS ": %s", strerror(errno));
		return -1;
	}
	ours = open_folder(bpffs, OURS, create, BPFFS "/" OURS);
	close(bpffs);
	if (ours < 0)
		return ours;
	snprintf(path, sizeof(path), BPFFS "/" OURS "/%s", name);
	folder = open_folder(ours, name, create, path);
	close(ours);
	return folder;
}

void programs_path(char *path, int folder, const char *name)
{
	snprintf(path, PROGRAMS_PATH_MAX, "/proc/self/fd/%d/%s", folder, name);
}

__u32 programs_id(int folder, const char *name)
{
	char path[PROGRAMS_PATH_MAX];
	struct bpf_link_info info = {};
	__u32 len = sizeof(info);
	int link;

	programs_path(path, folder, name);
	link = bpf_obj_get(path);
	if (link < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(link, &info, &len))
		info.prog_id = 0;
	close(link);
	return info.prog_id;
}

static int is_pin(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

bool programs_walk(int folder, programs_each_fn each, void *data)
{
	struct dirent **names;
	int i, nr = scandirat(folder, ".", &names, is_pin, alphasort);
	bool ok = true;

	if (nr < 0) {
		p_err("the pinned programs: %s", strerror(errno));
		return false;
	}
	for (i = 0; i < nr; i++) {
		ok &= each(folder, names[i]->d_name, data);
		free(names[i]);
	}
	free(names);
	return ok;
}

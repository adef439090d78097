/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A file system in user space with one file, "data", that keeps nothing of what is written but
 * how much that was. Each 8 bytes written have to be their own offset in the file.
 */
#ifndef _SELFTEST_STACK_POLICY_TINY_FUSE_H
#define _SELFTEST_STACK_POLICY_TINY_FUSE_H

#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "util.h"

#define FUSE_MAX_WRITE	(64 * 1024)
#define FUSE_FILE	2		/* its node; 1 is the root */

struct tiny_fuse { unsigned long long written, wrong; };

/* Return: the daemon's fd, or -1. */
static inline int tiny_fuse_mount(const char *where)
{
	int fd = checked(open("/dev/fuse", O_RDWR));
	char options[64];

	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (fd < 0 || checked(mount("tiny_fuse", where, "fuse", 0, options)))
		return -1;
	return fd;
}

static inline struct fuse_attr tiny_fuse_attr(unsigned long long node)
{
	return (struct fuse_attr){
		.ino = node,
		.mode = node == FUSE_FILE ? S_IFREG | 0644 : S_IFDIR | 0755,
		.nlink = 1,
		.blksize = 4096,
	};
}

static inline void tiny_fuse_take(struct tiny_fuse *fuse, const struct fuse_write_in *in)
{
	const unsigned long long *words = (const void *)(in + 1);

	for (unsigned int i = 0; i < in->size / 8; i++)
		fuse->wrong += words[i] != in->offset + i * 8;
	fuse->written += in->size;
}

/* The daemon. Until the file system is unmounted. */
static inline void tiny_fuse_serve(int fd, struct tiny_fuse *fuse)
{
	static char request[FUSE_MAX_WRITE + 4096];
	struct fuse_in_header *in = (void *)request;
	ssize_t got;

	while ((got = read(fd, request, sizeof(request))) > 0) {
		struct fuse_out_header out = { .unique = in->unique };
		union {
			struct fuse_init_out init;
			struct fuse_attr_out attr;
			struct fuse_entry_out entry;
			struct fuse_open_out open;
			struct fuse_write_out write;
		} body = {};
		struct iovec parts[] = { { &out, sizeof(out) }, { &body, 0 } };

		switch (in->opcode) {
		case FUSE_INIT:
			body.init.major = FUSE_KERNEL_VERSION;
			body.init.minor = FUSE_KERNEL_MINOR_VERSION;
			body.init.max_write = FUSE_MAX_WRITE;
			body.init.flags = FUSE_WRITEBACK_CACHE | FUSE_BIG_WRITES;
			parts[1].iov_len = sizeof(body.init);
			break;
		case FUSE_GETATTR:
		case FUSE_SETATTR:
			body.attr.attr = tiny_fuse_attr(in->nodeid);
			parts[1].iov_len = sizeof(body.attr);
			break;
		case FUSE_LOOKUP:
			body.entry.nodeid = FUSE_FILE;
			body.entry.entry_valid = 1000;
			body.entry.attr_valid = 1000;
			body.entry.attr = tiny_fuse_attr(FUSE_FILE);
			parts[1].iov_len = sizeof(body.entry);
			break;
		case FUSE_OPEN:
			parts[1].iov_len = sizeof(body.open);
			break;
		case FUSE_WRITE:
			tiny_fuse_take(fuse, (void *)(in + 1));
			body.write.size = ((struct fuse_write_in *)(in + 1))->size;
			parts[1].iov_len = sizeof(body.write);
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
			continue;
		case FUSE_FLUSH:
		case FUSE_FSYNC:
		case FUSE_RELEASE:
			break;
		default:
			out.error = -ENOSYS;
		}
		out.len = sizeof(out) + parts[1].iov_len;
		checked(writev(fd, parts, 2));
	}
	if (got < 0 && errno != ENODEV)
		checked(got);
}

#endif /* _SELFTEST_STACK_POLICY_TINY_FUSE_H */

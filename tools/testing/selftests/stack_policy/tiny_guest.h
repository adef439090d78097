/* SPDX-License-Identifier: GPL-2.0 */
/* A guest of KVM that only halts. */
#ifndef _SELFTEST_STACK_POLICY_TINY_GUEST_H
#define _SELFTEST_STACK_POLICY_TINY_GUEST_H

#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "util.h"

#define GUEST_HLTS	0x1000		/* that often KVM_RUN can return */

/* Return: its vCPU's fd, or -1; *@run is its kvm_run. */
static inline int tiny_guest(struct kvm_run **run)
{
	struct kvm_userspace_memory_region region = { .memory_size = 0x1000 };
	int kvm = open("/dev/kvm", O_RDWR), vm, vcpu;
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rflags = 2 };
	unsigned char *code;

	if (kvm < 0)
		return -1;
	vm = checked(ioctl(kvm, KVM_CREATE_VM, 0));
	if (vm < 0)
		return -1;
	code = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		    -1, 0);
	memset(code, 0xf4, GUEST_HLTS);
	region.userspace_addr = (unsigned long)code;
	if (checked(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region)))
		return -1;
	vcpu = checked(ioctl(vm, KVM_CREATE_VCPU, 0));
	*run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
		    MAP_SHARED, vcpu, 0);
	if (checked(ioctl(vcpu, KVM_GET_SREGS, &sregs)))
		return -1;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (checked(ioctl(vcpu, KVM_SET_SREGS, &sregs)) ||
	    checked(ioctl(vcpu, KVM_SET_REGS, &regs)))
		return -1;
	return vcpu;
}

#endif /* _SELFTEST_STACK_POLICY_TINY_GUEST_H */

#!/bin/sh
# PID 1 of the guest, once, on the harness' kernel: installs the packages as an
# administrator would, and what checks them.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs run /run
exec > /dev/ttyS1 2>&1
here=$(dirname "$0")
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
echo debian > /etc/hostname
install -m 644 "$here/machine-check.service" /etc/systemd/system/
mkdir -p /mnt/xfs
# Who measures them starts them.
systemctl disable postgresql nginx tomcat10 nfs-server kdump-tools
for folder in /etc/postgresql/*/main/conf.d; do
	[ ! -d "$folder" ] || echo "max_connections = 250" > "$folder/machine.conf"
done
dpkg -i "$here"/*.deb && systemctl enable machine-check && echo "installed"
# As class set --save writes it.
echo "kernel.stack_policy = user-worker=16/32" > /etc/sysctl.d/60-stack-policy.conf
sync
mount -o remount,ro /
echo o > /proc/sysrq-trigger
sleep 60

#!/bin/busybox sh
# First process of a guest: makes a system of the initramfs, loads the modules, runs /lab/job, powers off.
# The kernel's console is the first serial line; all that is said here goes to the second.
/bin/busybox mkdir -p /bin /dev /proc /run /sys /tmp
/bin/busybox --install -s /bin
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/tmp
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
chmod 1777 /tmp /dev/shm
stty -F /dev/ttyS1 raw -echo
exec </dev/null >/dev/ttyS1 2>&1

say() { echo "longsplice-lab: $*"; }

say "kernel $(uname -r)"
ip link set lo up
ulimit -n 1048576
for module in /lab/modules/*; do
    insmod "$module" || say "refused $module"
done
. /lab/job
say end
poweroff -f

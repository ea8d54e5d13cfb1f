"""Becomes a command that may make the system calls of the first argument, a list with commas, and
gets EPERM for all others: what SystemCallFilter= of systemd does, with the library it does it with."""

import ctypes
import os
import sys

SCMP_ACT_ALLOW, SCMP_ACT_ERRNO = 0x7FFF0000, 0x00050000
EPERM = 1
UNKNOWN = -1

allowed, command = sys.argv[1].split(","), sys.argv[2:]
seccomp = ctypes.CDLL("libseccomp.so.2")
seccomp.seccomp_init.restype = ctypes.c_void_p
context = ctypes.c_void_p(seccomp.seccomp_init(SCMP_ACT_ERRNO | EPERM))
for name in allowed:
    number = seccomp.seccomp_syscall_resolve_name(name.encode())
    # Calls of other machines have numbers below zero, and ones that it does not know this one.
    if number == UNKNOWN or number < 0:
        continue
    if seccomp.seccomp_rule_add(context, SCMP_ACT_ALLOW, number, 0) != 0:
        sys.exit("no rule for " + name)
error = seccomp.seccomp_load(context)
if error != 0:
    sys.exit("seccomp_load: %d" % error)
os.execv(command[0], command)

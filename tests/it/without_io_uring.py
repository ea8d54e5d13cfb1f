"""Becomes the command in its arguments, with io_uring_setup failing with EPERM (seccomp(2))."""

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO = 0x7FFF0000, 0x00050000
EPERM = 1
IO_URING_SETUP = 425  # The same number on x86-64 and arm64.


def instruction(code, jump_true, jump_false, value):
    """One struct sock_filter."""
    return struct.pack("HBBI", code, jump_true, jump_false, value)


FILTER = b"".join([
    instruction(0x20, 0, 0, 0),  # Load seccomp_data.nr.
    instruction(0x15, 0, 1, IO_URING_SETUP),  # Equal: the next; else one further.
    instruction(0x06, 0, 0, SECCOMP_RET_ERRNO | EPERM),
    instruction(0x06, 0, 0, SECCOMP_RET_ALLOW),
])

libc = ctypes.CDLL(None, use_errno=True)
code = ctypes.create_string_buffer(FILTER, len(FILTER))
program = ctypes.create_string_buffer(struct.pack("HP", len(FILTER) // 8, ctypes.addressof(code)))
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
    sys.exit("PR_SET_NO_NEW_PRIVS")
if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) != 0:
    sys.exit("PR_SET_SECCOMP: errno %d" % ctypes.get_errno())
os.execv(sys.argv[1], sys.argv[1:])

"""The system calls that a confined process may make; a list of what Python and torch need, all others are denied."""

from __future__ import annotations

import errno
import os
from typing import Any

_ALLOWED = """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek _llseek close close_range
    dup dup2 dup3 open openat openat2 creat stat fstat lstat stat64 fstat64 lstat64 newfstatat fstatat64 statx
    statfs fstatfs statfs64 fstatfs64
    access faccessat faccessat2 readlink readlinkat getcwd chdir fchdir getdents getdents64 fcntl fcntl64
    flock ftruncate ftruncate64 truncate fallocate fsync fdatasync sync_file_range fadvise64 readahead copy_file_range
    sendfile mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 umask
    mmap mmap2 munmap mremap mprotect madvise brk msync mincore mlock mlock2 munlock mbind get_mempolicy set_mempolicy
    membarrier pkey_alloc pkey_free pkey_mprotect map_shadow_stack
    futex futex_time64 futex_waitv futex_wake futex_wait futex_requeue set_robust_list get_robust_list rseq
    set_tid_address exit exit_group restart_syscall arch_prctl sched_yield
    sched_getaffinity sched_setaffinity sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min
    getcpu getpriority sysinfo uname getrandom
    getpid gettid getppid getpgid getpgrp getsid getuid geteuid getgid getegid getresuid getresgid getgroups
    getrusage getrlimit ugetrlimit times capget
    rt_sigaction rt_sigprocmask rt_sigreturn sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack
    clock_gettime clock_gettime64 clock_getres clock_nanosleep clock_nanosleep_time64 nanosleep gettimeofday time
    timer_create timer_settime timer_gettime timer_delete setitimer getitimer alarm pause
    timerfd_create timerfd_settime timerfd_gettime eventfd eventfd2
    pipe pipe2 poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64
    epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
    socketpair recvfrom recvmsg recv sendto sendmsg send shutdown getsockname getpeername getsockopt setsockopt
    wait4 waitid waitpid
"""
"""Sockets can be used but not made: what is used is the channel to the scanner."""

_DENIED = """
    fork vfork execve execveat socket connect bind listen accept accept4 kill tkill ptrace
    process_vm_readv process_vm_writev mount umount2 chroot setuid setgid setrlimit
    chmod fchmod fchmodat chown fchown lchown fchownat setxattr lsetxattr fsetxattr utimensat
    link linkat symlink symlinkat mknod mknodat memfd_create shmget
"""
"""Calls that Python knows how to report when they are not permitted; any other call is answered as if unknown."""

_CLONE_THREAD = 0x00010000
_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA = 15, 16, 0x53564D41
_TERMINAL_QUESTIONS = (0x5401, 0x5413, 0x541B, 0x5451)  # TCGETS, TIOCGWINSZ, FIONREAD, FIOCLEX


def call_filter(*, accelerator: bool) -> Any:
    """Return a filter of libseccomp whose `load()` lets the kernel refuse every other system call, for good.

    Args:
        accelerator: whether device drivers are spoken to, which takes calls with any content.

    Raises:
        OSError: libseccomp refused a rule.
    """
    import pyseccomp as seccomp

    calls = seccomp.SyscallFilter(seccomp.ERRNO(errno.ENOSYS))
    for name in _DENIED.split():
        _rule(calls, seccomp.ERRNO(errno.EPERM), name)
    for name in _ALLOWED.split():
        _rule(calls, seccomp.ALLOW, name)

    # threads, but no processes; clone3, whose flags cannot be seen, is unknown to the process: libc then uses clone
    _rule(calls, seccomp.ALLOW, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, _CLONE_THREAD, _CLONE_THREAD))
    _rule(calls, seccomp.ERRNO(errno.EPERM), "clone", seccomp.Arg(0, seccomp.MASKED_EQ, _CLONE_THREAD, 0))
    _rule(calls, seccomp.ALLOW, "tgkill", seccomp.Arg(0, seccomp.EQ, os.getpid()))
    _rule(calls, seccomp.ALLOW, "prlimit64", seccomp.Arg(2, seccomp.EQ, 0))  # limits may be read, not set
    _rule(calls, seccomp.ERRNO(errno.EPERM), "prlimit64", seccomp.Arg(2, seccomp.NE, 0))
    for option in (_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA):
        _rule(calls, seccomp.ALLOW, "prctl", seccomp.Arg(0, seccomp.EQ, option))
    if accelerator:
        for name in ("ioctl", "memfd_create", "sched_setscheduler", "process_madvise"):
            _rule(calls, seccomp.ALLOW, name)
    else:
        for question in _TERMINAL_QUESTIONS:
            _rule(calls, seccomp.ALLOW, "ioctl", seccomp.Arg(1, seccomp.EQ, question))
    return calls


def _rule(calls: Any, action: int, name: str, *conditions: object) -> None:
    import pyseccomp as seccomp

    try:
        number = seccomp.resolve_syscall(seccomp.system_arch(), name)
    except (OSError, ValueError):
        return  # libseccomp is older than the call, so that libc must be able to do without it
    if number >= 0:
        calls.add_rule(action, name, *conditions)

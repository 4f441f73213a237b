"""No file gets this process's memory: neither a core dump when it crashes, nor a debugger of the same user."""

import resource
import sys

PR_SET_DUMPABLE = 4


def forbid() -> None:
    """For this process; the limit of core files holds for its children too. Elsewhere than on Linux only that."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes

        # A core that is piped to a program (systemd-coredump, apport) is not held to the limit.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)

"""Pages of code that only the start needed: of parsers, optimisers, initialisers. They stay mapped for nothing.

What is let go is clean code of files, which the kernel maps again, from its cache, when it is called again. It would
take it back by itself when memory is short; here it need not wait for that. About 16 of an agent's 72 MiB
(docs/adr/0030).
"""

import ctypes
from collections.abc import Iterable, Iterator
from pathlib import Path

SMAPS = Path("/proc/self/smaps")
"""Linux only."""
DONTNEED = 4
"""Linux's MADV_DONTNEED."""


def release_code() -> None:
    """Unmap the code of this process's programme and libraries; on systems other than Linux nothing happens."""
    try:
        regions = list(clean_code(SMAPS.read_text(encoding="utf-8", errors="replace").splitlines()))
        advise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start, end in regions:
        advise(start, end - start, DONTNEED)  # where it refuses, all stays as it was


def clean_code(smaps: Iterable[str]) -> Iterator[tuple[int, int]]:
    """(start, end) of what is executable, private, of a file, and nowhere written to: nothing of it can be lost.

    Args:
        smaps: lines of `/proc/PID/smaps`, see proc_pid_smaps(5).
    """
    region = None
    for line in smaps:
        words = line.split(maxsplit=5)
        if words and not words[0].endswith(":"):
            is_code = len(words) == 6 and words[1] == "r-xp" and words[5].startswith("/")
            region = tuple(int(word, 16) for word in words[0].split("-")) if is_code else None
        elif region is not None and words[:1] == ["Private_Dirty:"] and words[1] == "0":
            yield region[0], region[1]

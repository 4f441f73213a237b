"""Bytes over HTTPS: paced, watched for slowness, bounded, and taken up again where an earlier time stopped.

Nothing here is trusted: what was fetched is compared with what was signed (`edge_agent/shell/trust.py`).
"""

import contextlib
import os
import re
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import urllib3
from tuf.api import exceptions
from tuf.ngclient import FetcherInterface

from edge_agent.errors import OversizeRefused, RegistryUnreachable, RetrievalSlow

CHUNK: Final = 65_536
TIMEOUT_S: Final = 15.0
BREAKS_MAX: Final = 5
"""Times that a line may break within one download without having brought anything new."""
_RANGE = re.compile(r"^bytes (\d+)-(\d+)/(\d+|\*)$")


class Slow(exceptions.DownloadError):
    """python-tuf's kind of error for a server that is too slow."""


class Pace:
    """Holds a download below one rate and above another.

    Attributes:
        taken: bytes so far.
    """

    def __init__(
        self,
        rate_max: int,
        rate_min: int,
        patience_s: float,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Args:
        rate_max: bytes a second; 0: no bound.
        rate_min: bytes a second, on average since the start.
        patience_s: how long it may be slower than that.
        """
        self.taken = 0
        self._most, self._least, self._patience_s = rate_max, rate_min, patience_s
        self._now_s, self._sleep = now_s, sleep
        self._started_s = now_s()
        self._slept_s = 0.0

    def took(self, count: int) -> None:
        """So many bytes came.

        Raises:
            Slow: too few, for too long.
        """
        self.taken += count
        waited_s = self._now_s() - self._started_s - self._slept_s
        if waited_s > self._patience_s and self.taken < self._least * waited_s:
            raise Slow(f"{self.taken} bytes in {waited_s:.0f} s; at least {self._least} a second are expected")
        if self._most:
            ahead_s = self.taken / self._most - (self._now_s() - self._started_s)
            if ahead_s > 0:
                self._sleep(ahead_s)
                self._slept_s += ahead_s


class Line(FetcherInterface):
    """HTTPS, trusting one certificate authority and nothing else; follows no redirect."""

    def __init__(self, ca: str, pace: Callable[[], Pace]) -> None:
        """Args:
        ca: certificate (PEM path) that the server's must chain to.
        pace: makes the pace of one document.
        """
        self._pace = pace
        self._pool = urllib3.PoolManager(
            cert_reqs="CERT_REQUIRED",
            ca_certs=ca or None,
            ssl_minimum_version=ssl.TLSVersion.TLSv1_2,
            timeout=urllib3.Timeout(connect=TIMEOUT_S, read=TIMEOUT_S),
            retries=urllib3.Retry(total=3, backoff_factor=0.3, redirect=0, raise_on_status=False),
        )

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._chunks(self._open(url, {}), self._pace())

    def _open(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        if not url.startswith("https://"):
            raise exceptions.DownloadError(f"{url} is not https://")
        response = self._pool.request("GET", url, preload_content=False, decode_content=False, headers=headers)
        if response.status not in {200, 206, 416}:
            response.release_conn()
            raise exceptions.DownloadHTTPError(f"{response.status} for {url}", response.status)
        return response

    @staticmethod
    def _chunks(response: urllib3.BaseHTTPResponse, pace: Pace) -> Iterator[bytes]:
        """What comes, as it comes: a reader that waited for whole pieces could be kept waiting by single bytes."""
        try:
            while data := response.read1(CHUNK):
                pace.took(len(data))
                yield data
            if response.length_remaining:
                raise exceptions.DownloadError(f"the line broke {response.length_remaining} bytes before the end")
        finally:
            response.close()

    def resume(self, url: str, part: Path, length: int) -> None:
        """Complete a file that an earlier time may have begun.

        Args:
            part: kept when the line breaks, so that the next time goes on there.
            length: bytes that the whole has.
        Raises:
            OversizeRefused: the server sends more than that.
            DownloadError: nothing more comes.
        """
        pace, breaks = self._pace(), 0
        with _opened(part) as file:
            if file.seek(0, os.SEEK_END) > length:
                file.truncate(0)
            while (have := file.seek(0, os.SEEK_END)) < length:
                try:
                    self._go_on(url, file, have, length, pace)
                    break  # that was all: whether it is what was signed is compared by whoever asked
                except (urllib3.exceptions.HTTPError, exceptions.DownloadError) as error:
                    if isinstance(error, exceptions.DownloadHTTPError | Slow):
                        raise
                    breaks = breaks + 1 if file.seek(0, os.SEEK_END) <= have else 1
                    if breaks >= BREAKS_MAX:
                        raise exceptions.DownloadError(f"{url}: {error}") from error
            file.flush()
            os.fsync(file.fileno())

    def _go_on(self, url: str, file, have: int, length: int, pace: Pace) -> None:  # type: ignore[no-untyped-def]
        response = self._open(url, {"Range": f"bytes={have}-"} if have else {})
        if response.status == 416 or (response.status == 206 and not _continues(response, have)):
            response.close()
            file.truncate(0)
            raise exceptions.DownloadError("the server does not continue where we stopped; beginning again")
        if response.status == 200 and have:
            file.truncate(0)
            file.seek(0)
            have = 0
        try:
            for data in self._chunks(response, pace):
                have += len(data)
                if have > length:
                    file.truncate(0)
                    raise OversizeRefused(
                        f"{url}: more than the {length} bytes that were signed",
                        hint="do not trust it; check the registry",
                    )
                file.write(data)
        finally:
            file.flush()


def _opened(part: Path):  # type: ignore[no-untyped-def]
    """For reading and writing, made when it is not there; never through a link that somebody laid there."""
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "r+b")


def _continues(response: urllib3.BaseHTTPResponse, have: int) -> bool:
    found = _RANGE.match(response.headers.get("Content-Range", ""))
    return found is not None and int(found[1]) == have


@contextlib.contextmanager
def named(registry: str, name: str) -> Iterator[None]:
    """Errors of the line, by what the reader can do."""
    try:
        yield
    except exceptions.DownloadLengthMismatchError as error:
        raise OversizeRefused(
            f"{name}: longer than what was signed, or than any metadata is ({error})",
            hint="do not trust it; check the registry",
        ) from error
    except Slow as error:
        raise RetrievalSlow(
            f"{registry}: {error}", hint="check the network; what has come is kept, and the next time goes on there"
        ) from error
    except (exceptions.DownloadError, urllib3.exceptions.HTTPError) as error:
        raise RegistryUnreachable(
            f"{registry}: {_short(error)}", hint="check registry.url, registry.ca and the network"
        ) from error


def _short(error: Exception) -> str:
    return " ".join(str(error.__cause__ or error).split())[:300]

"""Fetching published weights: into a cache folder, resumable, verified, whole or not at all.

A file grows as NAME.part beside its target and takes the target's name only once its hash is right, so a target
that exists was whole when it was put there; it is hashed again at every use all the same. A cut connection, a full
disk or Ctrl-C leaves the part, and the next attempt asks the server for the rest. Processes that want the same file
wait for one another on NAME.lock, which the operating system lets go of when its holder dies. No torch here.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from eyebright.errors import DownloadError
from eyebright.progress import Progress
from eyebright.writing import sync_folder

CHUNK = 1 << 18  # bytes read at once
MEGABYTE = 1_000_000
ATTEMPTS = 5  # in a row that brought nothing new
TIMEOUT = 30.0  # seconds without a byte
RETRY_LATER = (408, 425, 429, 500, 502, 503, 504)
NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
CACHE_VARIABLE = "EYEBRIGHT_CACHE"
OFFLINE_VARIABLE = "EYEBRIGHT_OFFLINE"


class _CutError(Exception):
    """The connection ended early or could not be made; trying again may help."""


class _WrongStartError(Exception):
    """What the part holds is not the beginning of what the server has; begin again."""


def cache_folder() -> Path:
    """Where downloads are kept: $EYEBRIGHT_CACHE, or ~/.cache/eyebright. It need not exist yet."""
    chosen = os.environ.get(CACHE_VARIABLE, "").strip()
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "eyebright"


def is_offline() -> bool:
    """Whether $EYEBRIGHT_OFFLINE forbids the network: any value but nothing, 0, false and no."""
    return os.environ.get(OFFLINE_VARIABLE, "").strip().lower() not in ("", "0", "false", "no")


def hash_file(path: Path) -> str:
    """The sha256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(
    url: str,
    target: Path,
    *,
    sha256_prefix: str,
    size_bytes: int,
    progress: Progress,
    offline: bool = False,
    pause: float = 0.5,
) -> Path:
    """Make sure that `target` is the file published at `url`, and fetch it only if it is not.

    Args:
        url: http or https; a https address is never followed to anything less.
        target: where the file shall be; folders above it are made.
        sha256_prefix: the first hexadecimal digits of its sha256.
        size_bytes: its size as published, which may be rounded: a server that offers something more than 1 % off
            is refused before the first byte.
        progress: shown in megabytes; its `stop_requested` ends the download and keeps what is there.
        offline: fetch nothing; $EYEBRIGHT_OFFLINE does the same.
        pause: seconds before the first retry, doubled for each further one.

    Returns:
        `target`.

    Raises:
        DownloadError: no network, not there, wrong hash (the bad file is removed), disk full (what came is kept).
        KeyboardInterrupt: the user asked to stop.
    """
    try:
        if _is_good(target, sha256_prefix):
            return target
        if offline or is_offline():
            state = "is damaged" if target.exists() else "is not there"
            raise DownloadError(
                f"{target} {state} and the network is switched off ({OFFLINE_VARIABLE} or offline): go online, or "
                f"fetch {url} elsewhere and put it there under that name"
            )
        if urlsplit(url).scheme not in ("http", "https"):
            raise DownloadError(f"{url} can't be fetched: only http and https addresses can")
        target.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(target.with_name(target.name + ".lock"), progress):
            if _is_good(target, sha256_prefix):  # another process was faster
                return target
            if target.exists():
                progress.warn(f"{target} is damaged (its sha256 is not {sha256_prefix}...); fetching it again")
                target.unlink()
            _fetch(url, target, sha256_prefix, size_bytes, progress, pause)
    except OSError as error:
        raise DownloadError(
            f"{url} can't be stored as {target}: {error.strerror or error}; "
            f"set {CACHE_VARIABLE} to a folder on a disk that can be written to"
        ) from error
    return target


def _is_good(path: Path, sha256_prefix: str) -> bool:
    try:
        return hash_file(path).startswith(sha256_prefix.lower())
    except FileNotFoundError:
        return False


def _fetch(url: str, target: Path, sha256_prefix: str, size_bytes: int, progress: Progress, pause: float) -> None:
    """Let the part grow until it is whole, verify it, and give it its name."""
    part = target.with_name(target.name + ".part")
    failures, most = 0, part.stat().st_size if part.exists() else 0
    progress.start(f"downloading {target.name} (MB)", max(1, round(size_bytes / MEGABYTE)))
    try:
        while True:
            start = part.stat().st_size if part.exists() else 0
            try:
                digest = _receive(url, part, start, size_bytes, progress)
            except _WrongStartError:
                part.unlink(missing_ok=True)
                continue
            except _CutError as error:
                size = part.stat().st_size if part.exists() else 0
                failures = 0 if size > most else failures + 1
                most = max(most, size)
                if failures >= ATTEMPTS:
                    raise DownloadError(_unreachable(url, target, part, str(error))) from error
                _wait(pause * 2 ** max(0, failures - 1), progress)
                continue
            if digest.startswith(sha256_prefix.lower()):
                break
            part.unlink()
            if start == 0:
                raise DownloadError(
                    f"what {url} sent is not the published file: its sha256 begins with {digest[:8]}, not "
                    f"{sha256_prefix}; it was removed. Try again; if it stays so, something between here and there "
                    f"(a proxy, a mirror) changes files. A good copy fetched elsewhere belongs at {target}"
                )
            # The part may have begun with other bytes, from a server that changed its mind: once more from nothing.
        os.replace(part, target)
        sync_folder(target.parent)
    finally:
        progress.finish()


def _receive(url: str, part: Path, start: int, size_bytes: int, progress: Progress) -> str:
    """One request: append what the server sends after `start` to the part; returns the sha256 of the whole."""
    headers = {"User-Agent": "eyebright"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        # Once the whole file is there, a server answers "416, nothing after that": then it only needs verifying.
        with _open(urllib.request.Request(url, headers=headers)) as response:
            start = _agreed_start(url, response, start, size_bytes)
            return _append(url, response, part, start, size_bytes, progress)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and start and (error.headers.get("Content-Range") or "").strip() == f"bytes */{start}":
                return hash_file(part)
            if error.code == 416 and start:
                raise _WrongStartError from error
            if error.code in RETRY_LATER:
                raise _CutError(f"the server answered {error.code} {error.reason}") from error
            raise DownloadError(
                f"{url} answered {error.code} {error.reason}, so {part.with_suffix('').name} can't be fetched; "
                f"look whether the address still exists, or put the file at {part.with_suffix('')} yourself"
            ) from error
    except http.client.HTTPException as error:
        raise _CutError(str(error) or type(error).__name__) from error


def _open(request: urllib.request.Request) -> http.client.HTTPResponse:
    try:
        response = urllib.request.build_opener(_KeepEncrypted).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError:
        raise
    except OSError as error:  # here, where it can only be the network's, and not the disk's
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadError(
                f"{request.full_url} can't be trusted: {reason.verify_message}; look at this machine's clock and "
                "certificates"
            ) from error
        raise _CutError(str(reason) or type(reason).__name__) from error
    assert isinstance(response, http.client.HTTPResponse)
    return response


class _KeepEncrypted(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to anything that can be read or changed on the way, nor to ftp."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        allowed = ("https",) if req.type == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in allowed:
            raise DownloadError(f"{req.full_url} sends on to {newurl}, which is no {' or '.join(allowed)} address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _agreed_start(url: str, response: http.client.HTTPResponse, start: int, size_bytes: int) -> int:
    """From which byte on the server sends: `start`, or 0 if it knows no ranges."""
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(?:\d+|\*)", response.headers.get("Content-Range", "").strip())
        if found is None or int(found[1]) != start:
            raise _WrongStartError if start else _CutError("the server sent a part that nobody asked for")
    else:
        start = 0
    if response.length is not None and abs(start + response.length - size_bytes) > _leeway(size_bytes):
        if start:
            raise _WrongStartError
        raise DownloadError(
            f"{url} offers {response.length:,} bytes where {size_bytes:,} were published; it was not fetched. "
            "A page of a proxy or a log-in may stand in the way"
        )
    return start


def _leeway(size_bytes: int) -> int:
    """By how many bytes a file may differ from its published size, which is rounded."""
    return 1024 + size_bytes // 100


def _append(
    url: str, response: http.client.HTTPResponse, part: Path, start: int, size_bytes: int, progress: Progress
) -> str:
    """Write what comes after `start`, hashing all of it; returns the sha256 once all came and is on the disk."""
    expected = None if response.length is None else start + response.length
    digest = hashlib.sha256()
    with part.open("r+b" if start else "wb", buffering=0) as file:
        done = 0
        while done < start and (chunk := file.read(min(CHUNK, start - done))):
            digest.update(chunk)
            done += len(chunk)
        file.truncate(done)
        while chunk := _read(response):
            _write(url, file.write, chunk, part, done)
            digest.update(chunk)
            done += len(chunk)
            progress.advance(done // MEGABYTE)
            if done > size_bytes + _leeway(size_bytes):  # a server that names no length may never end
                file.truncate(0)
                raise DownloadError(f"{url} sends more than the {size_bytes:,} bytes that were published; not kept")
            if progress.stop_requested:
                raise KeyboardInterrupt(f"{done:,} bytes are kept in {part}; the next download goes on from there")
        if expected is not None and done < expected:
            raise _CutError(f"the connection ended after {done:,} of {expected:,} bytes")
        os.fsync(file.fileno())
    return digest.hexdigest()


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except OSError as error:  # again only the network's
        raise _CutError(str(error) or type(error).__name__) from error


def _write(url: str, write: Callable[[bytes], int | None], chunk: bytes, part: Path, done: int) -> None:
    """All of a chunk, whatever the system takes at once.

    Raises:
        DownloadError: the disk is full; what was written stays.
    """
    rest = chunk
    try:
        while rest:
            rest = rest[write(rest) or 0 :]
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        kept = done + len(chunk) - len(rest)
        raise DownloadError(
            f"no room on the disk for {url}: {kept:,} bytes are kept in {part} and the next download goes on from "
            f"there; make room, or set {CACHE_VARIABLE} to a folder on another disk"
        ) from error


def _wait(seconds: float, progress: Progress) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if progress.stop_requested:
            raise KeyboardInterrupt
        time.sleep(min(0.1, left))


def _unreachable(url: str, target: Path, part: Path, reason: str) -> str:
    kept = f"; {part.stat().st_size:,} bytes are kept in {part}" if part.exists() else ""
    return (
        f"{url} can't be reached ({reason}){kept}. Try again when the network is there, or fetch it elsewhere and put "
        f"it at {target}; the starter weights need no network"
    )


@contextmanager
def _only_one(path: Path, progress: Progress) -> Iterator[None]:
    """Hold a lock file; others wait. The empty file stays, since removing it would let two in."""
    with path.open("ab") as file:
        while not _try_lock(file.fileno()):
            _wait(0.1, progress)
        yield  # closing the file lets go


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            return False
        raise
    return True

"""Downloads from a real HTTP server on this machine that cuts, lies, fails and forgets."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from eyebright.errors import DownloadError
from eyebright.models import download as download_module
from eyebright.models.download import _KeepEncrypted, cache_folder, download, hash_file, is_offline
from eyebright.progress import SilentProgress

CONTENT = bytes(hashlib.shake_256(b"weights").digest(3_000_000))
DIGITS = hashlib.sha256(CONTENT).hexdigest()[:8]


class Server(ThreadingHTTPServer):
    """Sends CONTENT, as badly as it is told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.knows_ranges = True
        self.states_length = True
        self.cuts: list[int] = []
        """After how many bytes the next answers end; used up one by one."""
        self.statuses: list[int] = []
        """What the next answers are instead of the file; used up one by one."""
        self.location = ""
        self.seconds_per_block = 0.0
        self.stalls_after: int | None = None
        """After so many bytes nothing more comes until `goes_on` is set."""
        self.goes_on = threading.Event()
        self.ranges: list[str | None] = []
        """The Range header of every request so far."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/weights.pth"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that hangs up is what some tests are about


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        if server.statuses:
            status = server.statuses.pop(0)
            self.send_response(status)
            if server.location:
                self.send_header("Location", server.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, size = 0, len(server.content)
        if asked and server.knows_ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= size:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        else:
            self.send_response(200)
        if server.states_length:
            self.send_header("Content-Length", str(size - start))
        self.end_headers()
        body = server.content[start:]
        if server.cuts:
            body = body[: server.cuts.pop(0)]
        for place in range(0, len(body), 100_000):
            if server.stalls_after is not None and place >= server.stalls_after:
                server.goes_on.wait(120)
            self.wfile.write(body[place : place + 100_000])
            time.sleep(server.seconds_per_block)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("EYEBRIGHT_OFFLINE", raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


class Recorder(SilentProgress):
    """Notes what it is told; asks to stop after so many steps."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.steps: list[int] = []
        self.started: list[tuple[str, int]] = []
        self.finished = 0
        self.warnings: list[str] = []
        self.stop_after = stop_after

    @property
    def stop_requested(self) -> bool:  # type: ignore[override]
        return self.stop_after is not None and len(self.steps) >= self.stop_after

    def start(self, stage: str, total: int) -> None:
        self.started.append((stage, total))

    def advance(self, done: int, note: str = "") -> None:
        self.steps.append(done)

    def finish(self) -> None:
        self.finished += 1

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def fetch(server: Server, target: Path, progress: Recorder | None = None, **changes: str) -> Path:
    return download(
        server.url,
        target,
        sha256_prefix=changes.get("digits", DIGITS),
        size_bytes=len(CONTENT),
        progress=progress or Recorder(),
        pause=0.01,
    )


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights.pth"


def part(target: Path) -> Path:
    return target.with_name("weights.pth.part")


def test_a_file_is_fetched_with_progress_in_megabytes(server: Server, target: Path) -> None:
    progress = Recorder()
    assert fetch(server, target, progress) == target
    assert target.read_bytes() == CONTENT
    assert not part(target).exists()
    assert progress.started == [("downloading weights.pth (MB)", 3)]
    assert progress.steps == sorted(progress.steps)
    assert progress.steps[-1] == 3
    assert progress.finished == 1


def test_what_is_there_and_whole_is_not_fetched_again(server: Server, target: Path) -> None:
    fetch(server, target)
    fetch(server, target)
    assert len(server.ranges) == 1


def test_a_damaged_copy_is_noticed_told_and_fetched_again(server: Server, target: Path) -> None:
    fetch(server, target)
    target.write_bytes(CONTENT[:-1] + b"!")
    progress = Recorder()
    fetch(server, target, progress)
    assert target.read_bytes() == CONTENT
    assert "is damaged" in progress.warnings[0]


def test_a_cut_connection_is_resumed_where_it_ended(server: Server, target: Path) -> None:
    server.cuts = [1_000_000, 700_000, 0]
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000000-", "bytes=1700000-", "bytes=1700000-"]


def test_more_cuts_than_attempts_are_survived_while_each_brings_something(server: Server, target: Path) -> None:
    server.cuts = [200_000] * 12
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_a_later_call_goes_on_from_what_an_earlier_one_kept(server: Server, target: Path) -> None:
    server.cuts = [1_234_567] + [0] * 20
    with pytest.raises(DownloadError, match=r"can't be reached .*1,234,567 bytes are kept"):
        fetch(server, target)
    assert not target.exists()
    assert part(target).read_bytes() == CONTENT[:1_234_567]
    server.cuts, server.ranges = [], []
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges == ["bytes=1234567-"]


def test_a_server_without_ranges_is_asked_for_all_of_it_again(server: Server, target: Path) -> None:
    server.knows_ranges = False
    server.cuts = [1_000_000]
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert len(server.ranges) == 2


def test_a_server_that_states_no_length_is_read_to_its_end(server: Server, target: Path) -> None:
    server.states_length = False
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_a_server_that_never_ends_is_cut_off(server: Server, target: Path) -> None:
    server.states_length = False
    server.content = CONTENT * 4
    with pytest.raises(DownloadError, match="sends more than the 3,000,000 bytes that were published"):
        fetch(server, target)
    assert not target.exists()
    assert part(target).stat().st_size == 0


def test_a_part_that_is_already_whole_only_needs_its_name(server: Server, target: Path) -> None:
    target.parent.mkdir()
    part(target).write_bytes(CONTENT)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges == ["bytes=3000000-"]


@pytest.mark.parametrize("start", [b"x" * 1_000_000, b"x" * 3_000_000, CONTENT + b"more"])
def test_a_part_that_is_no_beginning_of_the_file_is_thrown_away(server: Server, target: Path, start: bytes) -> None:
    target.parent.mkdir()
    part(target).write_bytes(start)
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_a_wrong_hash_is_refused_and_nothing_is_kept(server: Server, target: Path) -> None:
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(DownloadError, match=f"is not the published file: its sha256 begins with .*, not {DIGITS}"):
        fetch(server, target)
    assert not target.exists()
    assert not part(target).exists()


def test_a_page_in_the_place_of_the_file_is_refused_before_it_is_read(server: Server, target: Path) -> None:
    server.content = b"<html>please log in</html>"
    with pytest.raises(DownloadError, match="offers 26 bytes where 3,000,000 were published"):
        fetch(server, target)
    assert not target.exists()


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_file_that_is_not_there_is_said_at_once(server: Server, target: Path, status: int) -> None:
    server.statuses = [status] * 9
    with pytest.raises(DownloadError, match=f"answered {status}.*so weights.pth can't be fetched"):
        fetch(server, target)
    assert len(server.ranges) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_asked_again(server: Server, target: Path, status: int) -> None:
    server.statuses = [status, status]
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_a_server_that_stays_busy_is_given_up_with_what_to_do(server: Server, target: Path) -> None:
    server.statuses = [503] * 50
    with pytest.raises(DownloadError, match=r"can't be reached .*503.*Try again when the network is there"):
        fetch(server, target)
    assert len(server.ranges) == download_module.ATTEMPTS


def test_nobody_listening_is_given_up_with_what_to_do(server: Server, target: Path) -> None:
    unused = Server()
    unused.server_close()
    with pytest.raises(DownloadError, match=r"can't be reached .*put it at .*weights\.pth"):
        fetch(unused, target)


def test_a_redirect_is_followed(server: Server, target: Path) -> None:
    server.statuses, server.location = [302], "/elsewhere.pth"
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_a_redirect_to_another_kind_of_address_is_refused(server: Server, target: Path) -> None:
    server.statuses, server.location = [302], "ftp://127.0.0.1/weights.pth"
    with pytest.raises(DownloadError, match="no http or https address"):
        fetch(server, target)


def test_an_encrypted_address_is_never_left_for_a_plain_one() -> None:
    request = urllib.request.Request("https://weights.example/a.pth")
    redirect = _KeepEncrypted().redirect_request
    with pytest.raises(DownloadError, match=r"sends on to http://weights\.example/a\.pth, which is no https address"):
        redirect(request, None, 302, "Found", {}, "http://weights.example/a.pth")  # type: ignore[arg-type]
    followed = redirect(request, None, 302, "Found", {}, "https://mirror.example/a.pth")  # type: ignore[arg-type]
    assert followed is not None
    assert followed.full_url == "https://mirror.example/a.pth"


def test_only_web_addresses_are_fetched(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    with pytest.raises(DownloadError, match="only http and https"):
        download(
            secret.as_uri(), tmp_path / "w.pth", sha256_prefix=DIGITS, size_bytes=3_000_000, progress=SilentProgress()
        )


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_the_offline_switch_reaches_for_nothing(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("EYEBRIGHT_OFFLINE", value)
    with pytest.raises(DownloadError, match="is not there and the network is switched off"):
        fetch(server, target)
    assert server.ranges == []
    assert not target.parent.exists()
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    assert fetch(server, target) == target


@pytest.mark.parametrize(("value", "offline"), [("", False), ("0", False), ("No", False), ("1", True), ("on", True)])
def test_what_counts_as_offline(monkeypatch: pytest.MonkeyPatch, value: str, offline: bool) -> None:
    monkeypatch.setenv("EYEBRIGHT_OFFLINE", value)
    assert is_offline() is offline


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EYEBRIGHT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("EYEBRIGHT_CACHE", " ")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "eyebright"


def test_a_request_to_stop_keeps_the_part_for_the_next_time(server: Server, target: Path) -> None:
    progress = Recorder(stop_after=2)
    with pytest.raises(KeyboardInterrupt, match="bytes are kept"):
        fetch(server, target, progress)
    kept = part(target).read_bytes()
    assert 0 < len(kept) < len(CONTENT)
    assert CONTENT.startswith(kept)
    assert progress.finished == 1
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={len(kept)}-"


SCRIPT = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored
from eyebright.models.download import download
from eyebright.progress import SilentProgress
url, target, digits, limit = sys.argv[1:]
if int(limit):
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
print("ready", flush=True)
download(url, Path(target), sha256_prefix=digits, size_bytes=3_000_000, progress=SilentProgress(), pause=0.01)
"""


def start_process(server: Server, target: Path, limit: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, server.url, str(target), DIGITS, str(limit)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_is_interrupted_or_killed_keeps_the_part(
    server: Server, target: Path, number: signal.Signals
) -> None:
    server.stalls_after = 600_000  # two chunks and a part, which would be waited for
    process = start_process(server, target)
    end = time.monotonic() + 100
    while not (part(target).exists() and part(target).stat().st_size > 400_000) and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(number)
    process.communicate(timeout=30)
    server.stalls_after = None
    server.goes_on.set()
    kept = part(target).read_bytes()
    assert not target.exists()
    assert 400_000 < len(kept) < len(CONTENT)
    assert CONTENT.startswith(kept)
    fetch(server, target)  # a lock that died with its holder holds nobody up
    assert target.read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={len(kept)}-"


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk_is_said_in_words_and_keeps_what_came(server: Server, target: Path) -> None:
    process = start_process(server, target, limit=1_500_000)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "no room on the disk" in errors
    assert "1,500,000 bytes are kept" in errors
    assert not target.exists()
    assert part(target).read_bytes() == CONTENT[:1_500_000]
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=1500000-"


def test_a_disk_that_fails_otherwise_is_an_error_of_ours(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DownloadError, match=r"can't be stored as .*Input/output error; set EYEBRIGHT_CACHE"):
        fetch(server, target)
    assert not target.exists()


def test_a_cache_that_can_not_be_made_is_an_error_of_ours(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="can't be stored"):
        fetch(server, tmp_path / "file" / "weights.pth")
    (tmp_path / "weights.pth").mkdir()
    with pytest.raises(DownloadError, match="can't be stored"):
        fetch(server, tmp_path / "weights.pth")


def test_two_processes_at_once_fetch_the_file_once(server: Server, target: Path) -> None:
    server.seconds_per_block = 0.02
    processes = [start_process(server, target) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None]


def test_who_waits_for_another_process_can_be_stopped(server: Server, target: Path) -> None:
    server.stalls_after = 100_000
    process = start_process(server, target)
    end = time.monotonic() + 100
    while not part(target).exists() and time.monotonic() < end:
        time.sleep(0.01)
    with pytest.raises(KeyboardInterrupt):
        fetch(server, target, Recorder(stop_after=0))
    process.kill()
    process.communicate(timeout=30)
    server.goes_on.set()


def test_the_hash_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert hash_file(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_downloading_needs_no_torch() -> None:
    code = "import sys, eyebright.models.download, eyebright.models.published; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0

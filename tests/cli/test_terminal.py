from __future__ import annotations

import os
import signal

import pytest

from eyebright.cli import terminal
from eyebright.cli.terminal import OFTEN, TerminalProgress


def test_off_a_terminal_a_long_stage_tells_now_and_then_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    progress = TerminalProgress()
    progress.start("training", 1200)
    for done in range(100, 161):  # an earlier start has done a hundred; two seconds each
        progress.advance(done, f"epoch {done // 60 + 1}")
        now += 2
    progress.start("classifying", 10)
    progress.advance(10)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "training: 1,200 ..."
    assert lines[1] == "training: 115 of 1,200, epoch 2, 36 min 10 s left"
    assert lines[2] == "training: 130 of 1,200, epoch 3, 35 min 40 s left"
    assert len(lines) == 2 + 120 // OFTEN
    assert lines[-1] == "classifying: 10 ..."


def test_where_there_is_no_standard_error_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    progress = TerminalProgress()
    progress.start("training", 2)
    progress.warn("odd")
    progress.finish()
    terminal.print_error("wrong")


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_under_nohup_a_closed_terminal_stops_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminal.terminal_progress() as progress:
            signal.raise_signal(signal.SIGHUP)
            assert not progress.stop_requested
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with terminal.terminal_progress() as progress:
            signal.raise_signal(signal.SIGHUP)
            assert progress.stop_requested
            signal.raise_signal(signal.SIGHUP)  # no second request
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)

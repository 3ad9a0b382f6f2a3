from __future__ import annotations

import pytest

from eyebright.cli import listings, output, terminal
from eyebright.inference.predictor import Prediction
from eyebright.jobs.models import list_models


def answer(name: str, label: str = "cat") -> Prediction:
    return Prediction(name=name, label=label, confidence=0.75, probabilities={label: 0.75, "dog": 0.25})


def test_names_can_not_write_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b[31mred\x1b[0m\n[bold]x[/bold].jpg"
    output.print_predictions([answer(hostile, label="\x1b]0;title\x07")])
    terminal.print_line(hostile)
    terminal.print_error(hostile)
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "[bold]x[/bold].jpg" in out  # shown as it is, not as markup


def test_a_long_list_is_cut_but_counted(capsys: pytest.CaptureFixture[str]) -> None:
    bad = Prediction(name="bad.jpg", label=None, confidence=None, probabilities={}, error="is empty")
    many = [answer(f"{number}.jpg") for number in range(250)]
    assert output.print_predictions([bad, *many, bad]) == (252, 2)
    assert "and 52 more" in capsys.readouterr().out


def test_the_list_of_models_is_never_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    listings.print_models(list_models())
    out = capsys.readouterr().out
    assert "…" not in out
    for text in ("resnet50.starter", "vgg16.tv_v1", "4.09 G", "25.6 M", "80.9 %", "BSD-3-Clause"):
        assert text in out


def test_a_second_signal_ends_at_once() -> None:
    import os
    import signal

    before = signal.getsignal(signal.SIGTERM)
    with terminal.terminal_progress() as progress:
        os.kill(os.getpid(), signal.SIGTERM)
        assert progress.stop_requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before

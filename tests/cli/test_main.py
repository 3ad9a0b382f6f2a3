from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

import eyebright as eb
from eyebright.cli.main import cli

Command = Callable[..., subprocess.CompletedProcess[str]]

STEERING = ["--decisions", "--effort", "--out", "--seed", "--set", "--settings", "--slice"]
# Frozen: a new flag is a decision, made here as well.
FLAGS = {
    "atlas": ["--out"],
    "bench": ["--json", "--quick"],
    "cache": [],
    "check": ["--decisions", "--out", "--wrong-labels"],
    "compare": [*STEERING, "--kfold", "--models", "--no-baseline", "--resume", "--seeds"],
    "demo": ["--out", "--seed"],
    "draw": ["--dark", "--image", "--out", "--size", "--text", "--unfold", "--view"],
    "evaluate": ["--corruptions", "--decisions", "--engine", "--out", "--slice", "--tta"],
    "explain": ["--against", "--data", "--label", "--layer", "--method", "--out", "--similar"],
    "export": ["--int8", "--max-drop", "--out", "--to"],
    "features": ["--channel", "--data", "--out", "--steps"],
    "models": [],
    "predict": ["--coverage", "--engine", "--error-rate", "--explain", "--out", "--resume", "--sets"],
    "runs": [],
    "train": [*STEERING, "--find-lr", "--model", "--resume", "--teacher", "--weights"],
}
NAMES = [
    "Atlas",
    "Check",
    "ComparedRuns",
    "Drawing",
    "EvaluationReport",
    "Explained",
    "Export",
    "EyebrightError",
    "LabelSetsReport",
    "LearnedFeatures",
    "Prediction",
    "Predictor",
    "Preprocessing",
    "Run",
    "Settings",
    "SpeedReport",
    "atlas",
    "bench",
    "check",
    "compare",
    "compare_runs",
    "demo",
    "draw",
    "evaluate",
    "explain",
    "export",
    "features",
    "list_models",
    "list_runs",
    "load",
    "measure_robustness",
    "read_samples",
    "resume",
    "resume_comparison",
    "train",
]


def test_the_commands_and_their_flags_are_the_agreed_ones() -> None:
    found = {
        name: sorted(option for parameter in command.params for option in parameter.opts if option.startswith("--"))
        for name, command in cli.commands.items()
    }
    assert found == {name: sorted(flags) for name, flags in FLAGS.items()}
    assert all(command.help for command in cli.commands.values())
    options = [p for c in cli.commands.values() for p in c.params if isinstance(p, click.Option)]
    assert all(option.help for option in options)


def test_the_exported_names_are_the_agreed_ones() -> None:
    assert eb.__all__ == ["__version__", *NAMES]
    assert all(getattr(eb, name) is not None for name in NAMES)
    assert dir(eb) == sorted(eb.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = eb.trian


@pytest.mark.parametrize("code", ["import eyebright", "from eyebright.cli.main import cli; cli(['--help'])"])
def test_importing_and_asking_for_help_load_nothing_heavy(code: str) -> None:
    check = (
        f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'numpy', 'PIL', 'rich', 'matplotlib'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "[]"


def test_help_and_version_answer(eyebright: Command) -> None:
    assert "eyebright train photos/" in eyebright("--help").stdout
    assert eyebright("--version").stdout == f"eyebright {eb.__version__}\n"
    for name in FLAGS:
        assert eyebright(name, "--help").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["tarin"], 2, "No such command"),
        (["train"], 2, "Missing argument"),
        (["train", "nowhere"], 4, "nowhere: does not exist"),
        (["train", ".", "--model", "resnet5"], 5, 'did you mean "resnet50"'),
        (["train", ".", "--set", "trainning.lr=1"], 2, 'did you mean "training"'),
        (["train", ".", "--effort", "bets"], 2, 'no effort "bets"'),
        (["predict", "nowhere", "a.jpg"], 6, "no folder nowhere"),
        (["evaluate", ".", "."], 6, "no saved classifier"),
    ],
)
def test_mistakes_get_one_clear_line_and_their_own_exit_code(
    eyebright: Command, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    done = eyebright(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stdout == ""


def test_without_torch_a_command_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    done = subprocess.run(
        [sys.executable, "-m", "eyebright", "train", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
    )
    assert done.returncode == 2
    assert "pip install 'eyebright[train]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bug_is_called_one_and_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from eyebright.cli.main import main

    def fail() -> None:
        raise RuntimeError("broken inside")

    monkeypatch.setattr("eyebright.jobs.models.list_models", fail)
    with pytest.raises(SystemExit) as leaving:
        main(["models"])
    assert leaving.value.code == 1
    assert "a bug in Eyebright: RuntimeError: broken inside" in capsys.readouterr().err
    monkeypatch.setenv("EYEBRIGHT_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="broken inside"):
        main(["models"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["models"], ["--help"]])
def test_output_that_finds_no_room_is_told_without_a_traceback(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "eyebright", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 7
    assert done.stderr == "error: the output can't be written: No space left on device; free some room\n"


@pytest.mark.parametrize("arguments", [["models"], ["--help"], ["train", "--help"]])
def test_a_reader_that_has_gone_before_anything_is_written_is_no_error(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        command = [sys.executable, "-m", "eyebright", *arguments]
        done = subprocess.run(command, stdout=gone, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
@pytest.mark.parametrize("rest", ["| true", "| head -c 1 > /dev/null", ">&-"])
def test_a_reader_that_goes_away_is_no_error(rest: str) -> None:
    command = f"{sys.executable} -m eyebright models {rest}"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

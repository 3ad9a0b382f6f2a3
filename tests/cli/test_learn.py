from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
QUICK = ("--set", "training.epochs=1", "--set", "network.width=small")


def test_training_ends_with_the_result_and_what_to_type_next(eyebright: Command, photos: Path, tmp_path: Path) -> None:
    done = eyebright("train", photos, "--model", "cnn", *QUICK, cwd=tmp_path)
    assert done.returncode == 0
    assert "right: accuracy" in done.stdout
    assert "eyebright predict runs/light-cnn new.jpg" in done.stdout
    assert "24 images of 2 classes" in done.stderr
    page = (tmp_path / "runs" / "light-cnn" / "report.html").read_text()
    assert "eyebright train" in page  # the command that made it


def test_a_file_may_have_any_name(eyebright: Command, photos: Path, tmp_path: Path) -> None:
    name = 'cat \U0001f600 "1".safetensors'
    done = eyebright("train", photos, "--model", "cnn", "--weights", name, *QUICK, cwd=tmp_path)
    assert done.returncode == 5
    assert name in done.stderr


def test_a_comparison_ends_with_a_table_and_a_verdict(eyebright: Command, photos: Path, tmp_path: Path) -> None:
    arguments = ("--models", "cnn,resnet18", "--set", "network.weights=none", *QUICK)
    done = eyebright("compare", photos, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Plain CNN" in done.stdout
    assert "ResNet-18" in done.stdout
    assert "test images" in done.stdout
    assert "classifier without a network" in done.stdout
    assert (tmp_path / "runs" / "light-compare" / "report.html").is_file()
    assert (tmp_path / "runs" / "light-compare" / "cnn" / "bundle" / "README.md").is_file()


def test_a_comparison_may_do_without_the_baseline(eyebright: Command, photos: Path, tmp_path: Path) -> None:
    done = eyebright("compare", photos, "--models", "cnn", "--no-baseline", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Plain CNN" in done.stdout
    assert "without a network" not in done.stdout.lower()
    report = json.loads((tmp_path / "runs" / "light-compare" / "report.json").read_text())
    assert [contestant["model"] for contestant in report["contestants"]] == ["cnn"]


def test_seeds_and_folds_come_with_mean_and_spread(eyebright: Command, photos: Path, tmp_path: Path) -> None:
    seeds = eyebright("compare", photos, "--models", "cnn", *QUICK, "--seeds", "2", "--out", "s", cwd=tmp_path)
    assert seeds.returncode == 0, seeds.stderr
    assert "Plain CNN, seed 1 (2 of 2)" in seeds.stderr
    assert re.search(r"Plain CNN +\d+\.\d % \u00b1 \d", seeds.stdout)
    assert "other images and other seeds" in seeds.stdout
    assert "eyebright predict s/cnn-seed0 new.jpg" in seeds.stdout
    folds = eyebright("compare", photos, "--models", "cnn", *QUICK, "--kfold", "3", "--out", "f", cwd=tmp_path)
    assert folds.returncode == 0, folds.stderr
    assert "24 images of 2 classes in 3 folds of 8 to 8; each is tested once" in folds.stderr
    assert "over 3 folds" in folds.stdout
    assert "eyebright train DATA --model cnn" in folds.stdout


def test_a_comparison_that_was_killed_is_gone_on_with(eyebright: Command, photos: Path, tmp_path: Path) -> None:
    arguments = ["compare", str(photos), "--models", "cnn", *QUICK, "--seeds", "3", "--out", "c"]
    with subprocess.Popen(
        [sys.executable, "-m", "eyebright", *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Plain CNN, seed 1"):
                break
        process.kill()
        process.stderr.read()
    assert not (tmp_path / "c" / "report.json").exists()
    done = eyebright("compare", "--resume", "c", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "going on with c" in done.stderr
    assert "seed 0" not in done.stderr  # it was finished
    report = json.loads((tmp_path / "c" / "report.json").read_text())
    assert [one["number"] for one in report["contestants"][0]["repeats"]["trainings"]] == [0, 1, 2]
    for more, words in ((["--seeds", "2"], "keeps the comparison's settings"), ([], "is finished")):
        refused = eyebright("compare", "--resume", "c", *more, cwd=tmp_path)
        assert refused.returncode != 0
        assert words in refused.stderr


def test_columns_of_a_list_are_told_worst_first(eyebright: Command, photos: Path, tmp_path: Path) -> None:
    lines = ["path,label,camera,day"]
    for number, image in enumerate(sorted(photos.glob("*/*.png"))):
        camera = ("old", "new\x1b[31m")[number % 2]
        lines.append(f"{image},{image.parent.name},{camera},{number // 6}")
    listed = tmp_path / "list.csv"
    listed.write_text("\n".join(lines), encoding="utf-8")
    asked = ("--set", "data.test_fraction=0.6", "--slice", "Camera", "--out", "r")
    done = eyebright("train", listed, "--model", "cnn", *QUICK, *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = done.stdout[done.stdout.index("camera") :].splitlines()
    assert table[0].split() == ["camera", "images", "accuracy"]
    assert {line.split()[0] for line in table[1:3]} == {"old", "new\\x1b[31m"}
    assert "day" not in done.stdout
    told = eyebright("evaluate", "r", listed, "--slice", "camera", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "camera" in told.stdout
    refused = eyebright("evaluate", "r", listed, "--slice", "camrea", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert 'there is no column "camrea" to slice by; did you mean "camera"?' in refused.stderr


def test_runs_are_compared_as_they_are(eyebright: Command, photos: Path, run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "again")
    done = eyebright("compare", run_folder, tmp_path / "again", "--out", tmp_path / "c", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Plain CNN (again)" in done.stdout
    assert "are both first" in done.stdout
    assert (tmp_path / "c" / "report.html").is_file()
    for arguments, code, words in (
        ([run_folder, tmp_path / "again", "--seed", "1"], 2, "runs are compared as they are"),
        ([run_folder], 4, "at least two runs"),
        ([run_folder, photos], 4, "holds no report.json"),
    ):
        done = eyebright("compare", *arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (code, "")
        assert words in done.stderr


def test_settings_come_from_a_file_and_flags_count_more(eyebright: Command, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('model = "cnn"\nseed = 3\n[training]\nepochs = 7\n')
    done = eyebright("train", photos, "--settings", file, "--seed", "5", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    kept = (tmp_path / "runs" / "light-cnn" / "settings.toml").read_text()
    assert "seed = 5" in kept
    assert "epochs = 1" in kept
    again = eyebright("train", photos, "--settings", tmp_path / "runs" / "light-cnn" / "settings.toml", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    bundles = [tmp_path / "runs" / name / "bundle" / "weights.safetensors" for name in ("light-cnn", "light-cnn-2")]
    assert bundles[0].read_bytes() == bundles[1].read_bytes()


def _training(photos: Path, cwd: Path, *settings: str) -> subprocess.Popen[str]:
    """A training that was just begun, into the folder r."""
    return subprocess.Popen(
        [sys.executable, "-m", "eyebright", "train", str(photos), "--model", "cnn", "--out", "r", *settings],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "120"},
        preexec_fn=partial(signal.signal, signal.SIGHUP, signal.SIG_DFL),  # tests may run under nohup, which ignores it
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_keeps_what_there_is_and_says_how_to_go_on(photos: Path, tmp_path: Path, number: int) -> None:
    with _training(photos, tmp_path, "--set", "training.epochs=3000") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("training"):
                break
        time.sleep(0.5)
        for _ in range(2 if number == signal.SIGHUP else 1):  # the shell and the system both say it
            process.send_signal(number)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Stopping after this step" in err
    assert "Interrupted; everything is kept in r" in out
    assert "eyebright train --resume r" in out
    assert (tmp_path / "r" / "bundle" / "manifest.json").is_file()
    assert json.loads((tmp_path / "r" / "run.json").read_text())["state"] == "interrupted"
    assert list((tmp_path / "r" / "checkpoints").iterdir())


def test_a_reader_of_its_messages_that_goes_away_ends_no_training(photos: Path, tmp_path: Path) -> None:
    with _training(photos, tmp_path, *QUICK) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stderr.readline()
        process.stderr.close()
        assert "Report:" in process.stdout.read()
        assert process.wait(timeout=120) == 0
    assert json.loads((tmp_path / "r" / "run.json").read_text())["state"] == "finished"


@pytest.mark.parametrize(("stage", "keeps"), [("reading images", False), ("classifying", True)])
def test_a_stop_outside_training_says_how_to_go_on_if_anything_is_kept(
    photos: Path, tmp_path: Path, stage: str, keeps: bool
) -> None:
    stopping = (
        "import os, signal\n"
        "from eyebright.cli import terminal\n"
        "start = terminal.TerminalProgress.start\n"
        "def stop(self, stage, total):\n"
        "    start(self, stage, total)\n"
        f"    if stage == '{stage}':\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "terminal.TerminalProgress.start = stop\n"
        "from eyebright.cli.main import main\n"
        "main()\n"
    )
    (tmp_path / "stopping.py").write_text(stopping)
    command = [sys.executable, "stopping.py", "train", str(photos), "--model", "cnn", "--out", "my run", *QUICK]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 130, done.stderr
    assert ("go on with: eyebright train --resume 'my run'" in done.stderr) == keeps
    assert (tmp_path / "my run").exists() == keeps


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.5, 0.8])
def test_a_stop_while_it_starts_ends_at_once_and_is_no_bug(photos: Path, tmp_path: Path, seconds: float) -> None:
    arguments = ["train", str(photos), "--model", "cnn", "--out", "r"]
    with subprocess.Popen(
        [sys.executable, "-m", "eyebright", *arguments],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode in (-signal.SIGINT, 130), err
    assert "bug" not in err
    assert "Traceback" not in err or seconds < 0.2  # Python itself may still be starting


def test_a_full_disk_is_one_line(eyebright: Command, photos: Path, tmp_path: Path) -> None:
    limited = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"  # room for all but the weights
        "from eyebright.cli.main import main\n"
        "main(sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, "train", str(photos), "--model", "cnn", "--out", "r", *QUICK],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert "a checkpoint can't be written to r/checkpoints/00000001:" in done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("r/**/.*"))

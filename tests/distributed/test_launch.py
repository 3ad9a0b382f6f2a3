"""Several processes, as torchrun starts them, on the loopback alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyebright.distributed.launch import join_ranks, note_idle_cores, started_by, was_restarted
from eyebright.distributed.ranks import Ranks

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def torchrun(size: int, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TORCHRUN, f"--nproc-per-node={size}", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )


def test_without_torchrun_one_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    with join_ranks("cpu") as ranks:
        assert ranks == Ranks()
    assert started_by() is None
    assert not was_restarted()


@pytest.mark.parametrize(
    ("local", "threads", "cores", "note"),
    [
        (2, 1, 16, "2 processes of 1 thread each leave most of 16 cores idle; OMP_NUM_THREADS=8 before torchrun"),
        (4, 2, 16, "4 processes of 2 threads each leave most of 16 cores idle; OMP_NUM_THREADS=4 before torchrun"),
        (2, 1, 3, None),
        (1, 1, 64, None),
    ],
)
def test_cores_that_torchrun_leaves_idle_are_told(
    monkeypatch: pytest.MonkeyPatch, local: int, threads: int, cores: int, note: str | None
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(local))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    said = note_idle_cores(threads)
    assert (said is None) == (note is None)
    assert (said or "").startswith(note or "")


CHECKS = """
import json, sys
import numpy as np
import torch
from eyebright.data.samples import ImageStore
from eyebright.distributed.launch import join_ranks
from eyebright.errors import ImageError
from eyebright.inference.predictor import BATCH_SIZE, SamplePredictions
from eyebright.jobs.sharded import ShardedPredictor
from eyebright.progress import SilentProgress


class Echo:
    '''A predictor whose answer is a function of the name.'''
    class_names = ("a", "b", "c")

    def predict_samples(self, store, names, *, progress):
        rows = np.array([np.random.default_rng(int(n)).random(3) for n in names], dtype=np.float32).reshape(-1, 3)
        errors = {row: ImageError(n, "odd") for row, n in enumerate(names) if int(n) % 5 == 3}
        rows[list(errors)] = np.nan
        return SamplePredictions(probabilities=rows, errors=errors, images_per_second=1.0)


with join_ranks("cpu") as ranks:
    assert list(ranks.any(ranks.rank == ranks.size - 1, False)) == [True, False]
    tensors = [torch.full((3, 2), float(ranks.rank)), torch.arange(5.0), torch.ones(2, dtype=torch.float64)]
    ranks.add(tensors)
    assert tensors[0].tolist() == [[sum(range(ranks.size))] * 2] * 3
    assert tensors[1].tolist() == [ranks.size * i for i in range(5)]
    found = [torch.randn(5, 4, generator=torch.Generator().manual_seed(rank)) for rank in range(ranks.size)]
    added = [found[ranks.rank].clone(), found[ranks.rank].t()[1:].contiguous().double(), torch.empty(0)]
    ranks.add(added)
    if ranks.adds_in_pairs:
        while len(found) > 1:
            found = [one + other for one, other in zip(found[::2], found[1::2])]
        assert torch.equal(added[0], found[0])
    torch.testing.assert_close(added[1], added[0].t()[1:].double())
    assert ranks.lowest(7 - ranks.rank) == 8 - ranks.size
    assert ranks.share(b"from the first" if ranks.leads else None) == b"from the first"
    assert ranks.share(str(ranks.rank).encode(), source=ranks.size - 1) == str(ranks.size - 1).encode()
    weights = [torch.full((2, 2), float(ranks.rank)), torch.tensor(ranks.rank)]
    ranks.spread(weights)
    assert weights[0].sum() == 0 and int(weights[1]) == 0
    for count in map(int, sys.argv[1:]):
        names = tuple(str(n) for n in range(count))
        alone = Echo().predict_samples(None, names, progress=SilentProgress())
        together = ShardedPredictor(Echo(), ranks).predict_samples(None, names, progress=SilentProgress())
        np.testing.assert_array_equal(together.probabilities, alone.probabilities)
        assert list(together.errors) == list(alone.errors)
        assert [str(e) for e in together.errors.values()] == [str(e) for e in alone.errors.values()]
print("fine", flush=True)
"""


@pytest.mark.parametrize("size", [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)])
def test_ranks_agree_and_measure_what_one_process_measures(tmp_path: Path, size: int) -> None:
    (tmp_path / "checks.py").write_text(CHECKS)
    counts = [str(count) for count in (1, 2, 31, 32, 33, 64, 65, 97)]
    done = torchrun(size, "checks.py", *counts, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("fine") == size


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos") / "light"
    for label, name in enumerate(("bright", "dark", "middling")):
        (root / name).mkdir(parents=True)
        for number in range(25):
            pixels = np.random.default_rng([label, number]).integers(0, 150, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels + np.uint8(50 * (2 - label))).save(root / name / f"{number:02}.png")
    (root / "dark" / "broken.png").write_bytes(b"not an image")
    return root


TRAIN = ["-m", "eyebright", "train"]
FEW = ["--model", "cnn", "--set", "network.width=small", "--set", "training.batch_size=10"]


def results_of(run: Path) -> tuple[dict[str, object], list[dict[str, object]]]:
    report = json.loads((run / "report.json").read_text())["contestants"][0]["report"]
    report.pop("images_per_second")
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    for record in history:
        record.pop("seconds")
    return report, history


@pytest.fixture(scope="module")
def resnet_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from safetensors.torch import save_file

    from eyebright.models.catalog import build_model

    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        save_file(build_model("resnet18").state_dict(), path)
    return path


RESNET = ["--model", "resnet18", "--set", "network.stride_in=3x3", "--set", "data.image_size=32"]
FINE_TUNED = [*RESNET, "--effort", "standard", "--set", "training.epochs=3"]
FROM_SCRATCH = [*RESNET, "--weights", "none", "--set", "training.epochs=2", "--set", "training.micro_batch=8"]
WITH_DROPOUT = [*FEW, "--set", "training.micro_batch=5", "--set", "training.epochs=3"]


def train_alone(*arguments: str | Path, cwd: Path) -> None:
    alone = [sys.executable, *TRAIN, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(alone, cwd=cwd, check=True, capture_output=True, timeout=200, env=environment)


def assert_same(one: Path, other: Path) -> None:
    assert results_of(one) == results_of(other)
    weights = [(run / "bundle" / "weights.safetensors").read_bytes() for run in (one, other)]
    assert weights[0] == weights[1]
    assert (one / "samples.csv").read_bytes() == (other / "samples.csv").read_bytes()


@pytest.mark.parametrize(
    "kind",
    [
        "quick",
        "fine-tuned",
        pytest.param("from scratch", marks=pytest.mark.slow),
        pytest.param("with dropout", marks=pytest.mark.slow),
    ],
)
def test_two_processes_train_what_one_trains_bit_for_bit_and_one_of_them_speaks(
    photos: Path, resnet_weights: Path, tmp_path: Path, kind: str
) -> None:
    few = {
        "quick": [*RESNET, "--weights", str(resnet_weights)],
        "fine-tuned": [*FINE_TUNED, "--weights", str(resnet_weights)],
        "from scratch": FROM_SCRATCH,
        "with dropout": WITH_DROPOUT,
    }[kind]
    done = torchrun(2, *TRAIN, photos, *few, "--out", "two", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("accuracy") == 1
    assert done.stderr.count("reading images:") == 1
    train_alone(photos, *few, "--out", "one", cwd=tmp_path)
    assert_same(tmp_path / "two", tmp_path / "one")


STOPPED = """
import os
from eyebright.cli.main import main
from eyebright.training.step import Stepper

add_gradients = Stepper.add_gradients


def until_stopped(stepper, *arguments):
    if stepper.step == 5:
        stepper._progress.stop_requested = True
    return add_gradients(stepper, *arguments)


Stepper.add_gradients = until_stopped
main()
"""


def test_what_two_began_one_ends_as_if_alone_and_four_say_that_two_of_them_idle(photos: Path, tmp_path: Path) -> None:
    train_alone(photos, *WITH_DROPOUT, "--out", "one", cwd=tmp_path)
    (tmp_path / "stopped.py").write_text(STOPPED)
    stopped = torchrun(2, "stopped.py", "train", photos, *WITH_DROPOUT, "--out", "two", cwd=tmp_path)
    assert stopped.returncode != 0
    assert json.loads((tmp_path / "two" / "run.json").read_text())["state"] == "interrupted"
    shutil.copytree(tmp_path / "two", tmp_path / "four")
    train_alone("--resume", "two", cwd=tmp_path)
    assert_same(tmp_path / "two", tmp_path / "one")
    four = torchrun(4, *TRAIN, "--resume", "four", cwd=tmp_path)
    assert four.returncode == 0, four.stderr
    assert "2 of 4 processes have nothing to do" in " ".join(four.stderr.split())
    assert_same(tmp_path / "four", tmp_path / "one")


LIVES_ON = """
import sys, time
from pathlib import Path
from eyebright.distributed.launch import LostProcessError, join_ranks

noticed, kept = Path("noticed"), None
try:
    with join_ranks("cpu") as ranks:
        if ranks.rank == 1:
            raise ValueError("of one alone")
        if sys.argv[1] == "in a word":
            ranks.any(False)
        ranks.share(None, source=1)
except LostProcessError:
    noticed.touch()
except ValueError as error:
    kept = error  # as a notebook does
    until = time.monotonic() + 60
    while not noticed.exists() and time.monotonic() < until:
        time.sleep(0.05)
sys.exit(0 if noticed.exists() else 1)
"""


@pytest.mark.parametrize("where", ["in a word", "in what one shares"])
def test_a_rank_that_has_an_error_and_lives_on_is_missed_by_the_other(tmp_path: Path, where: str) -> None:
    (tmp_path / "lives_on.py").write_text(LIVES_ON)
    done = torchrun(2, "lives_on.py", where, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


DIVERGES = """
import math, os, sys, time
from eyebright.cli.main import main
from eyebright.jobs import fit
from eyebright.training.step import Stepper

write = fit.write_divergence


def write_slowly(*arguments):
    time.sleep(3)
    return write(*arguments)


fit.write_divergence = write_slowly
Stepper.add_gradients = lambda *_: (math.nan, math.nan)
main()
"""


def test_what_diverges_is_written_down_by_the_first_before_the_others_leave_and_is_not_begun_anew(
    photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "diverges.py").write_text(DIVERGES)
    done = torchrun(2, "--max-restarts=1", "diverges.py", "train", photos, *FEW, "--out", "r", cwd=tmp_path)
    assert done.returncode != 0
    assert "Where it failed, and with which images: r/diverged.html" in " ".join(done.stderr.split())
    assert "Stopping after this step" not in done.stderr
    state = json.loads((tmp_path / "r" / "run.json").read_text())
    assert state["state"] == "failed"
    assert state["starts"] == 1
    assert (tmp_path / "r" / "diverged.html").is_file()
    assert (tmp_path / "r" / "bundle" / "manifest.json").is_file()


KILLED = """
import os, signal
from pathlib import Path
from eyebright.cli.main import main
from eyebright.training.step import Stepper

add_gradients = Stepper.add_gradients


def until_killed(stepper, *arguments):
    if stepper.step == 50 and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        Path("was_killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return add_gradients(stepper, *arguments)


Stepper.add_gradients = until_killed
main()
"""


def test_a_killed_rank_is_started_again_and_changes_nothing(photos: Path, tmp_path: Path) -> None:
    few = [*FEW, "--set", "training.epochs=20", "--set", "training.checkpoint_seconds=0"]
    never = torchrun(2, *TRAIN, photos, *few, "--out", "never", cwd=tmp_path)
    assert never.returncode == 0, never.stderr
    (tmp_path / "killed.py").write_text(KILLED)
    killed = torchrun(2, "--max-restarts=2", "killed.py", "train", photos, *few, "--out", "killed", cwd=tmp_path)
    assert (tmp_path / "was_killed").exists()
    assert killed.returncode == 0, killed.stderr
    assert "going on with killed" in killed.stderr
    assert json.loads((tmp_path / "killed" / "run.json").read_text())["starts"] == 2
    assert results_of(tmp_path / "killed") == results_of(tmp_path / "never")
    weights = [(tmp_path / name / "bundle" / "weights.safetensors").read_bytes() for name in ("killed", "never")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("asked", ["--seeds", "--kfold"])
def test_two_processes_compare_and_go_on_with_what_was_stopped(photos: Path, tmp_path: Path, asked: str) -> None:
    compare = ["-m", "eyebright", "compare"]
    models = ["--models", "cnn", *FEW[2:], "--set", "training.epochs=1", "--no-baseline", asked, "2"]
    done = torchrun(2, *compare, photos, *models, "--out", "c", cwd=tmp_path)
    assert done.returncode == 0, done.stderr  # of both processes
    assert done.stdout.count("Report:") == 1
    whole = json.loads((tmp_path / "c" / "report.json").read_text())["contestants"][0]
    assert len(whole["repeats"]["trainings"]) == 2
    last = sorted(path for path in (tmp_path / "c").iterdir() if path.name.startswith("cnn-"))[-1]
    shutil.rmtree(last)
    (tmp_path / "c" / "report.json").unlink()
    again = torchrun(2, *compare, "--resume", "c", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    found = json.loads((tmp_path / "c" / "report.json").read_text())["contestants"][0]
    assert found["report"]["confidences"] == whole["report"]["confidences"]
    for one, other in zip(found["repeats"]["trainings"], whole["repeats"]["trainings"], strict=True):
        assert one["accuracy"] == other["accuracy"]

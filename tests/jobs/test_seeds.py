"""Comparisons of several seeds: one split for all, means in the report, and nothing lost when they are stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from eyebright.errors import CheckpointError, DataError, SettingsError
from eyebright.evaluation.compare import Comparison, Contestant
from eyebright.jobs import runs
from eyebright.jobs.compare import ComparedRuns, compare, resume_comparison
from eyebright.jobs.compare_runs import compare_runs
from eyebright.jobs.list_runs import list_runs
from eyebright.jobs.state import read_state
from eyebright.jobs.trials import read_plan
from eyebright.progress import Progress
from eyebright.speed import costs

StopIn = Callable[[int], Progress]
SETTINGS = ["training.epochs=2", "network.width=small", "network.weights=none"]
MODELS = ["cnn", "resnet18"]


@pytest.fixture(scope="module")
def seeded(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> ComparedRuns:
    folder = tmp_path_factory.mktemp("seeds") / "out"
    return compare(photos, models=MODELS, out=folder, overrides=SETTINGS, seed=5, seeds=2)


def without_times(contestants: Sequence[object]) -> list[Contestant]:
    """What two machines, or two moments, would measure alike."""
    found = []
    for one in contestants:
        assert isinstance(one, Contestant)
        repeats = one.repeats
        if repeats is not None:
            repeats = replace(repeats, trainings=tuple(replace(t, train_seconds=0) for t in repeats.trainings))
        found.append(
            replace(
                one,
                report=replace(one.report, images_per_second=1),
                repeats=repeats,
                train_seconds=0,
                latency_ms=None,
                slow_latency_ms=None,
                latency_count=None,
                train_memory_bytes=None,
                predict_memory_bytes=None,
                train_gpu_bytes=None,
                predict_gpu_bytes=None,
                size_bytes=0,
            )
        )
    return found


def list_differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two nested values differ, and in what: equality alone would only say that they do."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [found for key in one for found in list_differences(one[key], other[key], f"{where}.{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for place, pair in pairs for found in list_differences(*pair, f"{where}[{place}]")]
    return [] if one == other else [f"{where}: {one!r}, {other!r}"]


def test_all_seeds_of_all_networks_meet_the_same_split(seeded: ComparedRuns) -> None:
    names = ["cnn-seed5", "cnn-seed6", "resnet18-seed5", "resnet18-seed6"]
    assert sorted(path.name for path in seeded.folder.iterdir() if (path / "bundle").is_dir()) == names
    tables = {(seeded.folder / name / runs.SAMPLES).read_text() for name in names}
    assert len(tables) == 1
    weights = {(seeded.folder / name / "bundle" / "weights.safetensors").read_bytes() for name in names}
    assert len(weights) == 4
    for name in names:
        state = read_state(seeded.folder / name)
        assert state is not None
        assert state.seed == int(name[-1])


def test_the_report_holds_mean_and_spread_of_every_network(seeded: ComparedRuns) -> None:
    assert isinstance(seeded.comparison, Comparison)
    assert seeded.comparison.seeds == (5, 6)
    for contestant in seeded.comparison.contestants:
        if not contestant.is_network:
            assert contestant.repeats is None
            continue
        assert contestant.repeats is not None
        assert [training.number for training in contestant.repeats.trainings] == [5, 6]
        for training in contestant.repeats.trainings:
            own = json.loads((seeded.folder / f"{contestant.model}-seed{training.number}" / "report.json").read_text())
            assert own["contestants"][0]["report"]["accuracy"] == training.accuracy
    kept = json.loads((seeded.folder / "report.json").read_text())
    assert Comparison.from_dict(kept) == seeded.comparison
    assert 'id="trainings"' in (seeded.folder / "report.html").read_text()
    shown = seeded._repr_html_()  # in a notebook
    assert "\u00b1" in shown
    assert str(seeded.folder / "report.html") in shown
    assert seeded.predictor("cnn").manifest.architecture.model == "cnn"


def test_the_first_seed_is_the_comparison_of_one(photos: Path, seeded: ComparedRuns, tmp_path: Path) -> None:
    alone = compare(photos, models=["cnn"], out=tmp_path / "c", overrides=SETTINGS, seed=5, baseline=False)
    weights = [path / "bundle" / "weights.safetensors" for path in (tmp_path / "c/cnn", seeded.folder / "cnn-seed5")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert alone.comparison is not None
    assert alone.comparison.seeds == ()


def test_a_stopped_comparison_reports_what_all_have_and_ends_as_if_it_had_not_been(
    photos: Path, seeded: ComparedRuns, tmp_path: Path, stop_in: StopIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "c"
    monkeypatch.setattr(costs, "SECONDS", 0.0)  # as on a busy machine, where fewer images are timed than before
    stopped = compare(
        photos, models=MODELS, out=folder, overrides=SETTINGS, seed=5, seeds=2, progress=stop_in(4), command="as typed"
    )
    assert stopped.interrupted
    assert isinstance(stopped.comparison, Comparison)
    assert [c.repeats for c in stopped.comparison.contestants] == [None, None]  # the first seed of both
    kept = (folder / "cnn-seed6" / "bundle" / "weights.safetensors").stat().st_mtime_ns
    found = resume_comparison(folder)
    assert not found.interrupted
    assert (folder / "cnn-seed6" / "bundle" / "weights.safetensors").stat().st_mtime_ns == kept
    assert isinstance(found.comparison, Comparison)
    assert isinstance(seeded.comparison, Comparison)
    one, other = (without_times(each.contestants) for each in (found.comparison, seeded.comparison))
    assert list_differences([asdict(each) for each in one], [asdict(each) for each in other]) == []
    assert one == other
    assert found.comparison.command == "as typed"
    with pytest.raises(CheckpointError, match="is finished; its report is"):
        resume_comparison(folder)


def test_a_comparison_killed_before_its_last_report_is_not_finished(
    photos: Path, tmp_path: Path, stop_in: StopIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eyebright.jobs import compare as module

    folder = tmp_path / "c"
    stopped = compare(photos, models=MODELS, out=folder, overrides=SETTINGS, progress=stop_in(2), baseline=False)
    assert list(stopped.reports) == ["cnn"]

    def killed(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_report", killed)
        with pytest.raises(RuntimeError, match="killed"):
            resume_comparison(folder)
    found = resume_comparison(folder)
    assert set(found.reports) == {"cnn", "resnet18"}
    told = json.loads((folder / runs.REPORT_JSON).read_text())["contestants"]
    assert len(told) == 2


def test_a_comparison_of_one_seed_is_gone_on_with_too(photos: Path, tmp_path: Path, stop_in: StopIn) -> None:
    folder = tmp_path / "c"
    stopped = compare(photos, models=MODELS, out=folder, overrides=SETTINGS, progress=stop_in(2))
    assert list(stopped.reports) == ["cnn"]
    found = resume_comparison(folder)
    assert set(found.reports) == {"cnn", "resnet18"}
    assert isinstance(found.comparison, Comparison)
    assert not found.comparison.contestants[-1].is_network


def test_a_comparison_stopped_while_the_classifier_without_a_network_is_fitted_is_not_finished(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eyebright.jobs import compare as module

    def stopped(*_: object) -> list[Contestant]:
        raise KeyboardInterrupt

    folder = tmp_path / "c"
    with monkeypatch.context() as patched:
        patched.setattr(module, "list_baseline", stopped)
        told = compare(photos, models=["cnn"], out=folder, overrides=SETTINGS)
    assert told.interrupted
    assert list(told.reports) == ["cnn"]
    assert isinstance(told.comparison, Comparison)
    assert all(contestant.is_network for contestant in told.comparison.contestants)
    found = resume_comparison(folder)
    assert not found.interrupted
    assert isinstance(found.comparison, Comparison)
    assert [contestant.is_network for contestant in found.comparison.contestants] == [True, False]
    with pytest.raises(CheckpointError, match="is finished"):
        resume_comparison(folder)
    (folder / runs.REPORT_JSON).unlink()
    resume_comparison(folder)
    assert (folder / runs.REPORT_JSON).is_file()


def test_what_can_not_be_gone_on_with_is_told(
    photos: Path, seeded: ComparedRuns, tmp_path: Path, stop_in: StopIn
) -> None:
    with pytest.raises(CheckpointError, match=r"holds no comparison to go on with.*train --resume"):
        resume_comparison(seeded.folder / "cnn-seed5")
    folder = tmp_path / "c"
    compare(photos, models=MODELS, out=folder, overrides=SETTINGS, progress=stop_in(2))
    plan = folder / "compare.json"
    told = json.loads(plan.read_text())
    plan.write_text(json.dumps({**told, "version": 99}))
    with pytest.raises(CheckpointError, match="begun by a newer Eyebright"):
        read_plan(folder)
    plan.write_text(json.dumps({**told, "seeds": "0"}))
    with pytest.raises(CheckpointError, match=r"compare\.json can't be read .*seeds"):
        read_plan(folder)
    plan.write_text(json.dumps({**told, "data": str(tmp_path / "gone")}))
    with pytest.raises(DataError, match=r"any more; if it was moved: eyebright compare ITS_NEW_PLACE --resume"):
        resume_comparison(folder)


def test_a_comparison_that_never_began_leaves_nothing(photos: Path, tmp_path: Path, stop_in: StopIn) -> None:
    stopped = compare(photos, models=MODELS, out=tmp_path / "c", overrides=SETTINGS, seeds=2, progress=stop_in(1))
    assert stopped.interrupted
    with pytest.raises(SettingsError, match="not both"):
        compare(photos, models=MODELS, out=tmp_path / "d", overrides=SETTINGS, seeds=2, folds=2)
    with pytest.raises(SettingsError, match="number of seeds is 0"):
        compare(photos, models=MODELS, out=tmp_path / "d", overrides=SETTINGS, seeds=0)
    assert not (tmp_path / "d").exists()


def test_runs_of_other_seeds_are_compared_and_listed_as_runs(seeded: ComparedRuns, tmp_path: Path) -> None:
    found = compare_runs([seeded.folder], out=tmp_path / "c")
    titles = [contestant.title for contestant in found.comparison.contestants]
    assert titles[:2] == ["Plain CNN (cnn-seed5)", "Plain CNN (cnn-seed6)"]
    assert len(titles) == 5  # and the one without a network
    assert len(list_runs(seeded.folder.parent)) == 4

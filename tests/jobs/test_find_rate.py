from __future__ import annotations

import json
from pathlib import Path

import pytest

from eyebright.errors import BundleError, SettingsError
from eyebright.jobs.find_rate import find_rate
from eyebright.jobs.train import train


def test_a_plot_and_a_suggestion_are_left_and_are_the_same_twice(photos: Path, tmp_path: Path) -> None:
    found = [
        find_rate(photos, model="cnn", out=tmp_path / name, overrides=["network.width=small"], command="<typed>")
        for name in ("a", "b")
    ]
    assert found[0].tried == found[1].tried
    assert found[0].suggested is not None
    assert 1e-6 < found[0].suggested < 0.1
    plain = json.loads((tmp_path / "a" / "learning_rate.json").read_text())
    assert plain["suggested"] == found[0].suggested
    page = found[0].page.read_text()
    assert f"--set training.lr={found[0].suggested:g}" in page
    assert "<svg" in page
    assert "&lt;typed&gt;" in page


def test_a_head_alone_has_no_learning_rate(photos: Path, resnet_weights: Path, tmp_path: Path) -> None:
    weights = f"network.weights={json.dumps(str(resnet_weights))}"
    settings = [weights, "network.stride_in=3x3", "data.image_size=32", "training.batch_size=8"]
    with pytest.raises(SettingsError, match="--effort quick fits only a head"):
        find_rate(photos, model="resnet18", out=tmp_path / "r", overrides=settings)
    assert not (tmp_path / "r").exists()
    found = find_rate(photos, model="resnet18", effort="standard", out=tmp_path / "r", overrides=settings)
    assert len(found.tried) > 20


def test_a_teacher_is_asked_where_a_rate_is_looked_for(photos: Path, tmp_path: Path) -> None:
    few = ["network.width=small", "training.epochs=1"]
    teacher = train(photos, model="cnn", out=tmp_path / "teacher", overrides=few).folder
    taught = [*few, f"training.teacher={json.dumps(str(teacher))}"]
    alone = find_rate(photos, model="cnn", out=tmp_path / "a", overrides=few)
    assert find_rate(photos, model="cnn", out=tmp_path / "b", overrides=taught).tried != alone.tried
    with pytest.raises(BundleError, match="there is no folder nowhere"):
        find_rate(photos, model="cnn", overrides=[*few, "training.teacher=nowhere"])


def test_several_processes_look_for_no_rate(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="by one process; leave torchrun away"):
        find_rate(photos, model="cnn")

"""From a run to the page of what it learned, end to end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.bundle.store import load_bundle
from eyebright.errors import BundleError, DataError, ImageError, ModelError, OutputError, SettingsError
from eyebright.explanation.features import FeatureReader
from eyebright.jobs.features import features
from eyebright.jobs.train import Run


def test_a_run_is_shown_with_its_own_images(run: Run, photos: Path, tmp_path: Path) -> None:
    learned = features(run.folder, photos / "red" / "00.png", steps=3, out=tmp_path / "p.html")
    found = learned.features
    bundle = load_bundle(run.folder)
    reader, preprocessing = FeatureReader(bundle.model), bundle.manifest.preprocessing
    assert [stage.name for stage in found.stages] == ["stage1", "stage2", "stage3"]
    assert found.num_images == 48
    assert found.filters.shape == (12, 3, 3, 3)
    assert found.notes == ()
    for stage in found.stages:
        assert stage.maps.startswith("data:image/png")
        assert 1 <= len(stage.shown) <= 4
        for channel in stage.shown:
            assert len(channel.exciting) == 6
            images = preprocessing.normalise(np.stack([image.image for image in channel.exciting]))
            peaks = reader.read(images)[stage.name][:, channel.number].max(axis=(1, 2))
            assert np.all(np.diff(peaks) <= 0.01 * peaks[0])  # strongest first, up to rounding
            assert all(Path(image.name).is_file() for image in channel.exciting)
    # What this red image excites more than others do is red images' own.
    labels = [label for image in found.stages[-1].shown[0].exciting for label in image.labels]
    assert labels.count("red") >= 4
    assert (tmp_path / "p.html").read_text(encoding="utf-8") == learned.html


def test_an_image_is_read_once_however_many_channels_it_excites(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[int] = []
    read = FeatureReader.read

    def count(reader: FeatureReader, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        looked_at.append(len(images))
        return read(reader, images)

    monkeypatch.setattr(FeatureReader, "read", count)
    found = features(run.folder, steps=0).features
    exciting = [[image.name for channel in stage.shown for image in channel.exciting] for stage in found.stages]
    different = {name for names in exciting for name in names}
    assert sum(len(set(names)) for names in exciting) > len(different)  # some excite channels of several stages
    assert sum(looked_at) == 48 + len(different)


def test_channels_can_be_asked_for_and_painting_left_out(run: Run, photos: Path) -> None:
    found = features(run.folder, data=photos, channels=["stage2:7", "stage2:0"], steps=0).features
    assert [[channel.number for channel in stage.shown] for stage in found.stages] == [[], [7, 0], []]
    assert found.image is None
    assert all(channel.painted is None for channel in found.stages[1].shown)


def test_damaged_images_take_no_part_and_are_named(run: Run, photos: Path, tmp_path: Path) -> None:
    """Black, as which they are handed on by whoever decodes, would be an image like others to the network."""
    shutil.copytree(photos, tmp_path / "whole")
    for number in range(6):
        (tmp_path / "whole" / "red" / f"{number:02}.png").unlink()
    shutil.copytree(tmp_path / "whole", tmp_path / "some")
    for number in range(6):
        (tmp_path / "some" / "red" / f"{number:02}.png").write_bytes(b"no image")
    whole, some = (features(run.folder, data=tmp_path / name, steps=0).features for name in ("whole", "some"))
    assert whole.num_images == some.num_images == 42
    assert whole.notes == ()
    (note,) = some.notes
    assert note.startswith("6 of 48 images could not be read and take no part: ")
    assert str(tmp_path / "some" / "red" / "00.png") in note
    assert note.endswith("and 1 more.")
    for one, other in zip(whole.stages, some.stages, strict=True):
        assert [channel.number for channel in one.shown] == [channel.number for channel in other.shown]
        assert all(len(channel.exciting) == 6 for channel in other.shown)


def test_where_no_image_can_be_read_none_excites(run: Run, tmp_path: Path) -> None:
    for name in ("blue", "red"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"no image")
    found = features(run.folder, data=tmp_path, steps=0).features
    assert found.num_images == 0
    assert found.notes[0].startswith("2 of 2 images could not be read")
    assert all(channel.exciting == () for stage in found.stages for channel in stage.shown)


def test_without_its_images_a_run_is_shown_and_says_so(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder / "bundle", tmp_path / "bundle")
    found = features(tmp_path / "bundle", steps=1).features
    assert "--data names some" in found.notes[0]
    assert all(len(stage.shown) == 4 for stage in found.stages)
    assert all(channel.exciting == () for stage in found.stages for channel in stage.shown)


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"network": "./nowhere"}, BundleError, "no folder nowhere"),
        ({"network": "nowhere"}, ModelError, 'no network and no folder named "nowhere"'),
        ({"network": "resnet51"}, ModelError, 'did you mean "resnet50"?'),
        ({"network": "resnet18"}, ModelError, "resnet18 has no starter weights"),
        ({"channels": ["stage9:1"]}, SettingsError, 'no stage "stage9"'),
        ({"steps": -1}, SettingsError, "-1 steps"),
        ({"image": "missing.png"}, ImageError, "missing.png"),
        ({"data": "missing"}, DataError, "missing: does not exist"),
        ({"out": "p.png"}, OutputError, "p.png: features are shown as .html; end the name in it"),
    ],
)
def test_what_cannot_be_shown_is_one_clear_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, object], error: type, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        features(**({"network": run.folder, "steps": 0} | asked))  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from eyebright.checking import duplicates
from eyebright.checking.duplicates import KINDS, NEIGHBOURS, find_duplicates, group_duplicates, near_pairs
from eyebright.checking.findings import Finding
from eyebright.checking.leaks import find_leaks
from eyebright.checking.look import F, look, mirror_shapes
from eyebright.data.samples import SampleTable
from eyebright.data.sources import read_samples
from eyebright.data.unions import Unions
from eyebright.progress import SilentProgress

TRASHNET = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "trashnet"


def photo(seed: int) -> Image.Image:
    """A picture with coarse shapes and a grain of its own."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(60, 196, (6, 8, 3), dtype=np.uint8)).resize((320, 240), 3)
    grain = Image.fromarray(random.integers(68, 189, (60, 80), dtype=np.uint8)).resize((320, 240), 3)
    mixed = np.asarray(coarse).astype(np.int64) + np.asarray(grain)[..., None] - 128
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def write(root: Path, files: dict[str, bytes]) -> SampleTable:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return read_samples(root)


def find(table: SampleTable) -> list[Finding]:
    return find_duplicates(table, look(table))


def unlike(classes: tuple[str, ...] = ("a", "b")) -> dict[str, bytes]:
    return {f"{name}/other{i}.jpg": jpeg(photo(1000 + 10 * ord(name) + i)) for name in classes for i in range(3)}


def test_copies_of_every_sort_are_found_and_the_best_is_kept(tmp_path: Path) -> None:
    files = unlike()
    altered: dict[str, Callable[[Image.Image], bytes]] = {
        "resized": lambda image: jpeg(image.resize((190, 140))),
        "cropped": lambda image: jpeg(image.crop((16, 12, 320, 240))),
        "recompressed": lambda image: jpeg(image, 30),
        "mirrored": lambda image: jpeg(ImageOps.mirror(image), 85),
        "brightened": lambda image: jpeg(ImageEnhance.Brightness(image).enhance(1.2), 85),
    }
    for seed, (name, alter) in enumerate(altered.items()):
        files[f"a/{name}.jpg"] = jpeg(photo(seed), 95)
        files[f"a/{name}-copy.jpg"] = alter(photo(seed))
    table = write(tmp_path, files)
    findings = find(table)
    assert {finding.kind for finding in findings} == {"near-duplicate"}
    assert {finding.samples for finding in findings} == {(f"a/{name}-copy.jpg", f"a/{name}.jpg") for name in altered}
    assert [d.sample for f in findings for d in f.proposal] == [f.samples[0] for f in findings]
    assert {d.action for f in findings for d in f.proposal} == {"exclude"}


def test_the_same_file_twice_is_a_duplicate_and_the_decision_names_its_content(tmp_path: Path) -> None:
    content = jpeg(photo(1))
    table = write(tmp_path, {**unlike(), "a/one.jpg": content, "a/two.jpg": content, "a/three.jpg": content})
    (finding,) = find(table)
    assert finding.kind == "duplicate"
    assert finding.samples == ("a/one.jpg", "a/three.jpg", "a/two.jpg")
    assert [decision.sample for decision in finding.proposal] == ["a/three.jpg", "a/two.jpg"]
    assert {decision.digest for decision in finding.proposal} == {hashlib.sha256(content).hexdigest()}
    assert finding.words == (
        "The same file 3 times: a/one.jpg, a/three.jpg, a/two.jpg. If you accept, a/one.jpg is kept."
    )


def test_the_same_image_under_two_classes_is_worse_and_none_is_kept(tmp_path: Path) -> None:
    table = write(
        tmp_path, {**unlike(), "a/x.jpg": jpeg(photo(1)), "b/y.jpg": jpeg(photo(1), 50), "b/z.jpg": jpeg(photo(1))}
    )
    (finding,) = find(table)
    assert finding.kind == "two-classes"
    assert {kind.name: kind.severity for kind in KINDS}[finding.kind] == "wrong"
    assert {decision.sample for decision in finding.proposal} == {"a/x.jpg", "b/y.jpg", "b/z.jpg"}


def test_different_images_are_not_reported_nor_are_blank_ones(tmp_path: Path) -> None:
    files = unlike()
    for level in range(6):
        files[f"a/blank{level}.jpg"] = jpeg(Image.new("RGB", (100, 80), (40 * level,) * 3))
    assert find(write(tmp_path, files)) == []


def test_pairs_that_only_share_their_coarse_shapes_fail_the_second_look(tmp_path: Path) -> None:
    coarse = np.asarray(photo(1).resize((8, 6), Image.Resampling.BOX).resize((320, 240), 3)).astype(np.int64)
    files = unlike()
    for seed in (1, 2):
        grain = Image.fromarray(np.random.default_rng(seed).integers(113, 144, (60, 80), dtype=np.uint8))
        mixed = coarse + np.asarray(grain.resize((320, 240), 3))[..., None] - 128
        files[f"a/{seed}.jpg"] = jpeg(Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8)))
    table = write(tmp_path, files)
    looks = look(table)
    assert len(near_pairs(looks.shapes)) >= 1  # the coarse shapes alone would have reported it
    assert find_duplicates(table, looks) == []


def test_images_too_small_to_tell_a_copy_from_a_likeness_are_copies_only_if_equal(tmp_path: Path) -> None:
    for side, found in ((60, ["duplicate"]), (64, ["near-duplicate"])):
        small = photo(1).resize((80, side))
        files = {"a/1.jpg": jpeg(small), "a/2.jpg": jpeg(small), "a/3.jpg": jpeg(small, 60), "b/1.jpg": jpeg(photo(2))}
        findings = find(write(tmp_path / str(side), files))
        assert [finding.kind for finding in findings] == found
        assert len(findings[0].samples) == (2 if side < 64 else 3)


def test_unreadable_files_are_no_copies_of_each_other(tmp_path: Path) -> None:
    assert find(write(tmp_path, {**unlike(), "a/e1.jpg": b"", "a/e2.jpg": b"", "b/e3.jpg": b"xx"})) == []


def test_source_files_are_not_touched(tmp_path: Path) -> None:
    files = {**unlike(), "a/x.jpg": jpeg(photo(1)), "a/y.jpg": jpeg(photo(1), 60), "a/bad.jpg": jpeg(photo(2))[:900]}
    table = write(tmp_path, files)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("*.jpg")}
    looks = look(table)
    find_leaks(table, find_duplicates(table, looks))
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("*.jpg")} == before


def random_shapes(count: int, seed: int = 0) -> NDArray[np.float16]:
    shapes = np.random.default_rng(seed).normal(size=(count, F * F)).astype(np.float32)
    scaled: NDArray[np.float16] = (shapes / np.linalg.norm(shapes, axis=1, keepdims=True)).astype(np.float16)
    return scaled


def test_near_pairs_are_those_of_the_whole_table_across_its_blocks() -> None:
    shapes = random_shapes(9000)
    shapes[8999], shapes[5000], shapes[1] = shapes[3], shapes[4999], shapes[0]
    pairs = {tuple(row) for row in near_pairs(shapes).tolist()}
    assert pairs == {(3, 8999, 0), (4999, 5000, 0), (0, 1, 0)}


def test_very_many_like_images_do_not_make_very_many_pairs() -> None:
    shapes = np.repeat(random_shapes(1), 5000, axis=0)
    began = time.process_time()
    pairs = near_pairs(shapes)
    assert len(pairs) <= 2 * NEIGHBOURS * len(shapes)
    assert time.process_time() - began < 20
    assert set(pairs[pairs[:, 2] == 0][:, 0].tolist()) == set(
        range(4999)
    )  # each but the last has a neighbour behind it


def photo_like_shapes(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Shapes most of whose strength lies in a few frequencies, as photos' does."""
    strengths = 1 / (1 + np.arange(F * F))
    strengths[0] = 0
    shapes = np.random.default_rng(seed).normal(size=(count, F * F)) * strengths
    return scale(shapes)


def scale(shapes: NDArray[np.floating]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = (shapes / np.linalg.norm(shapes, axis=1, keepdims=True)).astype(np.float32)
    return scaled


@pytest.mark.parametrize("draw", [photo_like_shapes, random_shapes])
def test_in_lists_hardly_a_pair_is_missed_and_few_are_compared(
    draw: Callable[[int], NDArray[np.floating]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = draw(6000).astype(np.float32)
    noise = np.random.default_rng(1).normal(size=(500, F * F)) * 0.3 / F  # a likeness of 0.95
    noise[:, 0] = 0
    shapes[3000:3500] = scale(shapes[:500] + noise)
    shapes[3250:3500] = mirror_shapes(shapes[3250:3500])
    halves = shapes.astype(np.float16)
    whole = {tuple(pair) for pair in near_pairs(halves).tolist()}
    compared = []
    original = duplicates._compare

    def counted(askers: NDArray[np.int64], members: NDArray[np.int64], *others: Any) -> None:
        compared.append(len(askers) * len(members))
        original(askers, members, *others)

    monkeypatch.setattr(duplicates, "_compare", counted)
    monkeypatch.setattr(duplicates, "LIST", 60)
    divided = {tuple(pair) for pair in near_pairs(halves).tolist()}
    assert len(divided & whole) >= 0.97 * len(whole)
    planted = {(row, 3000 + row, int(row >= 250)) for row in range(500)} & whole
    assert len(planted) > 450
    assert len(planted & divided) >= 0.995 * len(planted)
    assert sum(compared) < 0.5 * 2 * 6000 * 6000


def test_in_lists_too_very_many_like_images_stay_together_and_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = photo_like_shapes(8000).astype(np.float16)
    alike = np.random.default_rng(0).permutation(8000)[:4000]
    shapes[alike] = shapes[0]
    monkeypatch.setattr(duplicates, "LIST", 128)
    began = time.process_time()
    pairs = near_pairs(shapes)
    assert time.process_time() - began < 20
    assert len(pairs) <= 2 * NEIGHBOURS * len(shapes)
    unions = Unions(len(shapes))
    for a, b, _ in pairs.tolist():
        unions.join(a, b)
    assert len({unions.find(row) for row in alike.tolist()}) == 1


def test_in_a_very_long_list_only_those_that_come_next_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_FARTHEST_BEHIND", 2000)
    shapes = random_shapes(6000)
    shapes[1000] = shapes[900]
    shapes[5900] = shapes[800]
    assert near_pairs(shapes).tolist() == [[900, 1000, 0]]


def test_comparing_stops_when_asked() -> None:
    class Stopping(SilentProgress):
        stop_requested = True

    with pytest.raises(KeyboardInterrupt):
        near_pairs(random_shapes(10), progress=Stopping())


@pytest.mark.slow
@pytest.mark.skipif(not TRASHNET.is_dir(), reason="needs ../shared/data/trashnet")
def test_trashnet_has_three_images_under_two_classes_and_no_more_are_reported() -> None:
    table = read_samples(TRASHNET)
    found = {finding.samples for finding in find(table) if finding.kind == "two-classes"}
    assert found == {
        ("glass/glass115.jpg", "metal/metal91.jpg"),
        ("glass/glass389.jpg", "plastic/plastic332.jpg"),
        ("glass/glass176.jpg", "plastic/plastic152.jpg"),
    }


@pytest.mark.slow
@pytest.mark.skipif(not TRASHNET.is_dir(), reason="needs ../shared/data/trashnet")
def test_planted_copies_are_found_and_little_else(tmp_path: Path) -> None:
    import importlib.util

    script = Path(__file__).resolve().parents[2] / "scripts" / "plant_copies.py"
    spec = importlib.util.spec_from_file_location("plant_copies", script)
    assert spec is not None
    assert spec.loader is not None
    plant_copies = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plant_copies)
    planted = plant_copies.plant(TRASHNET, tmp_path, copies=200, seed=1)
    table = read_samples(tmp_path)
    groups = [[table.names[row] for row in rows] for rows in group_duplicates(table, look(table))]
    group_of = {name: number for number, names in enumerate(groups) for name in names}
    found = [c for c, (name, _) in planted.items() if c in group_of and group_of[c] == group_of.get(name)]
    reported = [c for c in planted if c in group_of]
    assert len(found) >= 0.95 * len(planted)
    assert len(found) >= 0.95 * len(reported)

"""The table of published weights: complete, consistent, and telling each file's layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyebright.errors import WeightsError
from eyebright.models import published
from eyebright.models.catalog import MODELS
from eyebright.models.published import (
    WEIGHTS,
    cache_path,
    default_weights,
    find_published,
    find_weights,
    known_stride_in,
    list_weights,
    locate,
    read_imagenet_classes,
    read_imagenet_wnids,
)

PUBLISHED = [entry for entry in WEIGHTS.values() if entry.url is not None]


def test_every_vgg_and_resnet_has_published_weights() -> None:
    assert {entry.model for entry in PUBLISHED} == MODELS.keys() - {"cnn"}
    assert len(PUBLISHED) == 17
    assert list_weights("cnn") == ()


@pytest.mark.parametrize("entry", WEIGHTS.values(), ids=WEIGHTS)
def test_an_entry_is_complete(entry: published.WeightsEntry) -> None:
    assert entry.name.split(".")[0] == entry.model
    assert entry.licence
    assert entry.source.startswith("https://")
    assert (entry.top1 is None) == (entry.top5 is None)
    assert entry.top1 is None or 69 < entry.top1 < (entry.top5 or 0) < 97
    assert entry.preprocessing.channels == 3
    assert entry.preprocessing.image_size == 224


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: entry.name)
def test_a_published_file_carries_its_hash_in_its_name(entry: published.WeightsEntry) -> None:
    assert entry.url is not None
    assert entry.url.startswith("https://download.pytorch.org/models/")
    assert entry.filename.startswith(f"{entry.model}-") or entry.name == "vgg16.tv_features"
    assert entry.filename.endswith(f"-{entry.sha256_prefix}.pth")
    assert len(entry.sha256_prefix) == 8


def test_no_two_files_are_the_same() -> None:
    assert len({entry.sha256_prefix for entry in PUBLISHED}) == len(PUBLISHED)
    assert len({entry.filename for entry in PUBLISHED}) == len(PUBLISHED)


def test_the_sizes_are_four_bytes_for_each_parameter_and_a_little_more() -> None:
    parameters = {"vgg16": 138_357_544, "resnet18": 11_689_512, "resnet50": 25_557_032, "resnet152": 60_192_808}
    for entry in PUBLISHED:
        if entry.model in parameters:
            assert 1.0 <= entry.size_bytes / (4 * parameters[entry.model]) < 1.01, entry.name


def test_every_network_with_bottlenecks_has_a_layout_and_no_other_has_one() -> None:
    for entry in WEIGHTS.values():
        assert (entry.stride_in is not None) == (entry.model in ("resnet50", "resnet101", "resnet152")), entry.name
    assert {entry.stride_in for entry in PUBLISHED} == {None, "3x3"}
    assert WEIGHTS["resnet50.starter"].stride_in == "1x1"


def test_the_second_recipe_is_preprocessed_in_its_own_way() -> None:
    assert WEIGHTS["resnet50.tv_v1"].preprocessing.resize == 256
    assert WEIGHTS["resnet50.tv_v2"].preprocessing.resize == 232
    assert WEIGHTS["vgg16.tv_features"].preprocessing.std == (1 / 255,) * 3


def test_names_are_found_whatever_their_case_and_hyphens() -> None:
    assert find_weights("ResNet50.TV-V2").name == "resnet50.tv_v2"


def test_unknown_weights_are_refused_and_the_nearest_named() -> None:
    with pytest.raises(WeightsError, match=r'no weights named "resnet50.tv_v3"; did you mean "resnet50.tv_v[12]"'):
        find_weights("resnet50.tv_v3")


def test_a_file_is_recognised_by_its_hash_also_one_that_is_no_longer_published() -> None:
    assert find_published("0676ba61" + "0" * 56) is WEIGHTS["resnet50.tv_v1"]
    assert find_published("f" * 64) is None
    assert known_stride_in("0676ba61" + "0" * 56) == "3x3"
    assert known_stride_in("19c8e357" + "0" * 56) == "3x3"
    assert known_stride_in("f" * 64) is None


def test_starter_weights_come_first_where_they_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for installed, names in (
        (True, ["resnet50.starter", "vgg16.starter", "resnet18.tv_v1", "vgg19_bn.tv_v1"]),
        (False, ["resnet50.tv_v2", "vgg16.tv_v1", "resnet18.tv_v1", "vgg19_bn.tv_v1"]),
    ):
        monkeypatch.setattr(published, "is_starter_installed", lambda found=installed: found)
        chosen = [default_weights(model) for model in ("resnet50", "vgg16", "resnet18", "vgg19_bn")]
        assert [entry and entry.name for entry in chosen] == names
        assert default_weights("cnn") is None


def test_weights_say_where_they_would_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EYEBRIGHT_CACHE", str(tmp_path))
    entry = WEIGHTS["resnet18.tv_v1"]
    assert cache_path(entry) == tmp_path / "weights" / "resnet18-f37072fd.pth"
    assert locate(entry) == "download"
    cache_path(entry).parent.mkdir()
    cache_path(entry).write_bytes(b"x")
    assert locate(entry) == "cache"
    assert locate(WEIGHTS["vgg16.starter"]) == "starter"


def test_there_are_a_thousand_imagenet_classes_and_no_two_share_a_name() -> None:
    names, wnids = read_imagenet_classes(), read_imagenet_wnids()
    assert len(set(names)) == len(names) == len(set(wnids)) == len(wnids) == 1000
    assert list(wnids) == sorted(wnids)
    assert (names[0], wnids[0]) == ("tench", "n01440764")
    assert (names[999], wnids[999]) == ("toilet tissue", "n15075141")
    assert [name for name in names if name.startswith(("crane", "maillot"))] != ["crane", "crane", "maillot", "maillot"]

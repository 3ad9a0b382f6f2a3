from __future__ import annotations

from pathlib import Path

import pytest

from eyebright.errors import ModelError
from eyebright.jobs.network import find_network, list_starters


def test_a_folder_that_is_called_like_a_network_is_not_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("resnet50", "my-run"):
        (tmp_path / name).mkdir()
    found = find_network("ResNet-50")
    assert found is not None
    assert found == find_network("resnet50")
    assert found.name == "resnet50"
    assert find_network("./resnet50") is None
    assert find_network(tmp_path / "resnet50") is None
    assert find_network("my-run") is None
    assert find_network("runs/of-nobody") is None
    with pytest.raises(ModelError, match='no network and no folder named "resnet51"; did you mean "resnet50"'):
        find_network("resnet51")


def test_two_networks_come_with_their_weights() -> None:
    assert sorted(list_starters()) == ["resnet50", "vgg16"]

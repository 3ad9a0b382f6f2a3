"""Weights files that are whole, damaged, hostile, wrapped or quantised."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from eyebright.errors import WeightsError
from eyebright.models.tensors import read_tensors

STATE = {"conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2), "fc.bias": torch.tensor([0.5, -1.5])}


def assert_is_state(found: dict[str, torch.Tensor]) -> None:
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)


@pytest.fixture
def safe_file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(STATE, path, {"stride_in": "1x1"})
    return path


@pytest.fixture
def torch_file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pth"
    torch.save(STATE, path)
    return path


def test_a_safetensors_file_is_read_with_what_it_says_of_itself(safe_file: Path) -> None:
    stored = read_tensors(safe_file)
    assert_is_state(stored.tensors)
    assert stored.metadata == {"stride_in": "1x1"}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_of_today_and_of_old_is_read(tmp_path: Path, suffix: str, zipped: bool) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save(STATE, path, _use_new_zipfile_serialization=zipped)
    assert_is_state(read_tensors(path).tensors)


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.model.", "backbone."])
def test_the_names_that_wrappers_put_in_front_are_taken_off(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"epoch": 3, "state_dict": {prefix + name: tensor for name, tensor in STATE.items()}}, path)
    assert_is_state(read_tensors(path).tensors)


def test_a_prefix_that_only_some_names_share_stays(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, path)
    assert set(read_tensors(path).tensors) == {"module.a", "b"}


class _Trap:
    """Runs a command when unpickled by anything that trusts the file."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize("form", ["zip", "legacy", "plain pickle"])
@pytest.mark.parametrize("function", [os.system, os.mkdir, eval, exec], ids=lambda function: function.__name__)
def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path: Path, form: str, function: Callable[..., Any]) -> None:
    proof, path = tmp_path / "proof", tmp_path / "hostile.pth"
    argument = {
        "system": f"mkdir '{proof}'",
        "mkdir": str(proof),
        "eval": f"__import__('os').mkdir({str(proof)!r})",
        "exec": f"import os; os.mkdir({str(proof)!r})",
    }[function.__name__]
    hostile = {**STATE, "trap": _Trap(function, argument)}
    if form == "plain pickle":
        path.write_bytes(pickle.dumps(hostile))
    else:
        torch.save(hostile, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(WeightsError, match=r"hostile\.pth can't be read as weights"):
        read_tensors(path)
    assert not proof.exists()
    if form == "plain pickle":  # the trap is a real one
        pickle.loads(path.read_bytes())
        assert proof.exists()


def test_a_whole_network_pickled_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.pt"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(WeightsError, match="save the plain state dict"):
        read_tensors(path)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(10_000_000))
    with pytest.raises(WeightsError, match="would unpack to 10,"):
        read_tensors(path)


@pytest.mark.parametrize("kind", ["safe_file", "torch_file"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.99])
def test_a_file_cut_short_is_refused_by_name(request: pytest.FixtureRequest, kind: str, share: float) -> None:
    path: Path = request.getfixturevalue(kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match=path.name.replace(".", r"\.")):
        read_tensors(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_noise_is_refused(tmp_path: Path, suffix: str) -> None:
    random = np.random.default_rng(0)
    for number in range(20):
        path = tmp_path / f"noise{number}{suffix}"
        path.write_bytes(random.bytes(200 + 50 * number))
        with pytest.raises(WeightsError, match=f"noise{number}"):
            read_tensors(path)


@pytest.mark.parametrize("kind", ["safe_file", "torch_file"])
def test_changed_bytes_give_tensors_or_our_error_and_nothing_else(request: pytest.FixtureRequest, kind: str) -> None:
    path: Path = request.getfixturevalue(kind)
    content, random, refused = path.read_bytes(), np.random.default_rng(1), 0
    for _ in range(60):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 3):
            damaged[place] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        try:
            read_tensors(path)
        except WeightsError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1, 2], "no named tensors but a list"),
        ({}, "no named tensors"),
        ({"lr": 0.1}, "no tensor under the name 'lr': a float"),
        ({3: torch.ones(1)}, "no tensor under the name '3'"),
        ({"a": torch.ones(2, 2).to_sparse()}, "not plain numbers"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: object, reason: str) -> None:
    path = tmp_path / "odd.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=reason):
        read_tensors(path)


def test_a_file_that_is_absent_empty_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no weights file"):
        read_tensors(tmp_path / "absent.pth")
    (tmp_path / "empty.pth").touch()
    with pytest.raises(WeightsError, match="is empty"):
        read_tensors(tmp_path / "empty.pth")
    (tmp_path / "weights.h5").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"should end in \.safetensors, \.pth, \.pt or \.ckpt"):
        read_tensors(tmp_path / "weights.h5")


def test_a_terminal_escape_in_a_name_is_shown_escaped(tmp_path: Path) -> None:
    path = tmp_path / "odd.pth"
    torch.save({"\x1b[31mred": 1}, path)
    with pytest.raises(WeightsError) as caught:
        read_tensors(path)
    assert "\x1b" not in str(caught.value)


def save_starter(path: Path, tensors: dict[str, torch.Tensor], version: str = "1") -> Path:
    safetensors.torch.save_file(tensors, path, {"format": "eyebright-starter", "version": version, "model": "x"})
    return path


def test_int8_weights_are_multiplied_by_the_scale_of_their_channel(tmp_path: Path) -> None:
    values = torch.tensor([[[[1]], [[-2]]], [[[3]], [[127]]]], dtype=torch.int8)
    path = save_starter(
        tmp_path / "s.safetensors",
        {"conv.weight": values, "conv.weight.scale": torch.tensor([0.5, 0.25]), "bn.bias": torch.ones(2).half()},
    )
    found = read_tensors(path).tensors
    assert found.keys() == {"conv.weight", "bn.bias"}
    assert found["conv.weight"].flatten().tolist() == [0.5, -1.0, 0.75, 31.75]
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}


def test_a_starter_file_without_its_scales_is_refused(tmp_path: Path) -> None:
    values = torch.ones(2, 2, dtype=torch.int8)
    for number, scale in enumerate((None, torch.ones(3), torch.ones(1))):
        tensors = {"w": values} if scale is None else {"w": values, "w.scale": scale}
        with pytest.raises(WeightsError, match="w has no scale per output channel"):
            read_tensors(save_starter(tmp_path / f"{number}.safetensors", tensors))


def test_a_starter_file_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="starter weights of version 2"):
        read_tensors(save_starter(tmp_path / "s.safetensors", {"w": torch.ones(1)}, version="2"))

"""The package with the starter weights, as installed: whole, small, and as good as what it was made from."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

SHARED = Path(__file__).resolve().parents[3] / "shared"
SOURCE = SHARED / "weights"
IMAGES = SHARED / "data" / "imagenet-val-250"
LAYOUTS = {"resnet50": "1x1", "vgg16": ""}
FILES = {
    "resnet50": "resnet50_v1_imagenet_keras_fp16.safetensors",
    "vgg16": "vgg16_features_imagenet_keras_fp16.safetensors",
}

needs_source = pytest.mark.skipif(not SOURCE.is_dir(), reason="needs ../shared/weights")


@pytest.fixture(scope="module")
def package() -> ModuleType:
    try:
        return importlib.import_module("eyebright_weights")
    except ImportError:
        pytest.skip("needs eyebright-weights; install it with: pip install ./weights")


def read(package: ModuleType, name: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(package.path(name), framework="pt") as file:
        return {key: file.get_tensor(key) for key in list(file.keys())}, file.metadata()


def test_it_brings_two_networks_and_an_unknown_one_is_refused_by_name(package: ModuleType) -> None:
    assert package.names() == ("resnet50", "vgg16")
    for call in (package.path, package.sha256):
        with pytest.raises(KeyError, match=r"resnet18.*resnet50, vgg16"):
            call("resnet18")


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_file_is_the_one_that_was_published(package: ModuleType, name: str) -> None:
    assert hashlib.sha256(package.path(name).read_bytes()).hexdigest() == package.sha256(name)


def test_together_the_files_are_at_most_42_million_bytes(package: ModuleType) -> None:
    assert sum(package.path(name).stat().st_size for name in package.names()) <= 42_000_000


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_file_says_what_it_is_and_where_it_comes_from(package: ModuleType, name: str) -> None:
    _, metadata = read(package, name)
    assert metadata["format"] == "eyebright-starter"
    assert metadata["version"] == "1"
    assert metadata["model"] == name
    assert metadata["stride_in"] == LAYOUTS[name]
    assert metadata["licence"] in ("MIT", "CC BY 4.0")
    assert metadata["origin"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_weight_is_int8_with_a_finite_scale_for_each_output_channel(package: ModuleType, name: str) -> None:
    tensors, _ = read(package, name)
    weights = {key for key, tensor in tensors.items() if tensor.dtype == torch.int8}
    assert len(weights) == {"resnet50": 54, "vgg16": 13}[name]
    for key in weights:
        scale = tensors[f"{key}.scale"]
        assert scale.dtype == torch.float32
        assert scale.shape == tensors[key].shape[:1]
        assert scale.isfinite().all()
        assert (scale > 0).all()
        assert int(tensors[key].min()) >= -127
    for key, tensor in tensors.items():
        if key not in weights:
            assert tensor.dtype == torch.float32, key
            assert tensor.isfinite().all(), key


def test_the_numbers_of_parameters_are_the_published_ones(package: ModuleType) -> None:
    for name, published in {"resnet50": 25_557_032, "vgg16": 14_714_688}.items():
        tensors, _ = read(package, name)
        counted = sum(t.numel() for key, t in tensors.items() if not key.endswith((".scale", "_mean", "_var")))
        assert counted == published


@needs_source
@pytest.mark.parametrize("name", LAYOUTS)
def test_no_weight_is_further_from_its_source_than_a_step_or_what_was_clipped(package: ModuleType, name: str) -> None:
    tensors, _ = read(package, name)
    source = load_file(SOURCE / FILES[name])
    for key, exact in source.items():
        if tensors[key].dtype != torch.int8:
            assert torch.equal(tensors[key], exact.float()), key
            continue
        step = tensors[f"{key}.scale"].reshape(-1, *[1] * (exact.dim() - 1))
        clipped = (exact.float().abs() - 127 * step).clamp_min(0)
        error = (tensors[key].float() * step - exact.float()).abs()
        assert (error <= step * 1.001 + clipped).all(), key
        relative = error.square().sum() / exact.float().square().sum()
        assert relative < 2e-3, f"{key}: {relative:.2e}"


@needs_source
def test_the_build_script_writes_the_same_files_again(package: ModuleType, tmp_path: Path) -> None:
    build: Any = importlib.import_module("build")
    for source in build.SOURCES:
        tensors = build.as_starter(build.read_source(SOURCE, source), scale=build.SCALE, sums=build.SUMS)
        content = build.to_bytes(tensors, build.describe(source))
        assert hashlib.sha256(content).hexdigest() == package.sha256(source.model)


@pytest.mark.slow
@pytest.mark.skipif(not (SOURCE.is_dir() and IMAGES.is_dir()), reason="needs ../shared/weights and ../shared/data")
def test_on_imagenet_the_starter_resnet50_is_within_one_point_of_its_float16_source(package: ModuleType) -> None:
    from eyebright.models.catalog import build_model
    from eyebright.models.layers import lay_channels_last
    from eyebright.models.published import read_imagenet_wnids
    from eyebright.models.weights import load_pretrained
    from eyebright.preprocess import Preprocessing

    preprocessing = Preprocessing(image_size=224, resize=256)
    wnids = list(read_imagenet_wnids())
    paths = sorted(IMAGES.glob("*/*"))
    assert len(paths) == 250
    labels = torch.tensor([wnids.index(path.parent.name) for path in paths])
    starter = load_pretrained("resnet50", "starter", num_classes=1000)
    assert starter.head_loaded
    source = build_model("resnet50", num_classes=1000, stride_in="1x1")
    source.load_state_dict(load_file(SOURCE / FILES["resnet50"]), strict=False)
    answers: dict[str, list[torch.Tensor]] = {"starter": [], "source": []}
    with torch.inference_mode():
        for first in range(0, len(paths), 25):
            rows = []
            for path in paths[first : first + 25]:
                with Image.open(path) as image:
                    rows.append(preprocessing(np.asarray(image.convert("RGB"))))
            batch = torch.from_numpy(np.stack(rows)).contiguous(memory_format=torch.channels_last)
            for name, model in (("starter", starter.model), ("source", source)):
                answers[name].append(lay_channels_last(model.eval())(batch).argmax(1))
    accuracy = {name: (torch.cat(found) == labels).float().mean().item() for name, found in answers.items()}
    assert accuracy["source"] > 0.75
    assert accuracy["starter"] >= accuracy["source"] - 0.01
    agreement = (torch.cat(answers["starter"]) == torch.cat(answers["source"])).float().mean().item()
    assert agreement > 0.95

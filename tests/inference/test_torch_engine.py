from __future__ import annotations

import numpy as np
import pytest
import torch

from eyebright.inference.torch_engine import TorchEngine
from eyebright.memory import TooLittleMemoryError
from eyebright.models.catalog import build_model
from eyebright.models.protocol import Network
from eyebright.preprocess import Preprocessing

PREPROCESSING = Preprocessing(image_size=33, resize=33)


@pytest.mark.parametrize("name", ["cnn", "resnet18", "vgg11_bn"])
def test_it_computes_what_the_network_computes(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(name, num_classes=3, head="pooled" if name.startswith("vgg") else None)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.running_mean, -1, 1)  # type: ignore[arg-type]
                torch.nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
                torch.nn.init.uniform_(module.weight, 0.5, 2)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    pixels = np.random.default_rng(0).integers(0, 256, (4, 33, 33, 3), dtype=np.uint8)
    images = torch.from_numpy(PREPROCESSING.normalise(pixels))
    engine = TorchEngine(model, PREPROCESSING)
    found = engine.run(np.moveaxis(pixels, 3, 1))
    with torch.inference_mode():
        expected = model.eval()(images).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert found.dtype == np.float32
    logits, embedding = engine.run_and_embed(np.moveaxis(pixels, 3, 1))
    np.testing.assert_array_equal(logits, found)
    with torch.inference_mode():
        assert isinstance(model, Network)
        embedded = model.embed(images)
    np.testing.assert_allclose(embedding, embedded.numpy(), rtol=1e-3, atol=1e-4)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_bfloat16_is_near_and_says_its_name() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model("resnet18", num_classes=3)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 33, 33), dtype=np.uint8)
    exact, low = TorchEngine(model, PREPROCESSING), TorchEngine(model, PREPROCESSING, bfloat16=True)
    wanted, found = exact.run(pixels), low.run(pixels)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()
    assert (exact.name, low.name) == ("torch", "torch-bf16")


def test_where_memory_runs_out_fewer_are_answered_at_once_from_then_on() -> None:
    engine = TorchEngine(build_model("cnn", num_classes=3), PREPROCESSING)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 33, 33), dtype=np.uint8)
    expected = engine.run_and_embed(pixels)
    asked: list[int] = []

    def refuse(_: torch.nn.Module, given: tuple[torch.Tensor]) -> None:
        asked.append(len(given[0]))
        if asked[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    first = next(module for module in engine._model.modules() if isinstance(module, torch.nn.Conv2d))
    first.register_forward_pre_hook(refuse)
    for one, other in zip(engine.run_and_embed(pixels), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert asked == [9, 4, 2, 2, 2, 2, 1]
    asked.clear()
    engine.run(pixels)
    assert asked == [2, 2, 2, 2, 1]
    first.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(TooLittleMemoryError, match="a single image"):
        engine.run(pixels)

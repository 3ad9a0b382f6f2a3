from __future__ import annotations

import math

import pytest
import torch

from eyebright.embedding.embed import computes_bfloat16
from eyebright.errors import SettingsError
from eyebright.models.catalog import build_model
from eyebright.models.cnn import CNN
from eyebright.models.layers import lay_channels_last
from eyebright.training.epochs import train_with_frozen_statistics
from eyebright.training.settings import OptimiserSettings, Settings
from eyebright.training.start import choose_device, choose_micro_batch, choose_precision, set_dropout


def test_fine_tuning_leaves_the_statistics_of_batch_norm_alone_but_learns_its_weights() -> None:
    model = build_model("resnet18", num_classes=2)
    train_with_frozen_statistics(model)
    before = model.get_submodule("bn1").running_mean.clone()  # type: ignore[operator]
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert torch.equal(model.get_submodule("bn1").running_mean, before)  # type: ignore[arg-type]
    assert model.get_submodule("bn1").weight.grad is not None
    assert model.training


def test_a_device_that_is_not_there_is_said() -> None:
    assert choose_device("cpu") == choose_device("cpu:0") == "cpu"
    for odd in ("abacus", "cpu:x", "cuda:", "cuda:-1"):
        with pytest.raises(SettingsError, match=f'not "{odd}"'):
            choose_device(odd)
    if not torch.cuda.is_available():
        assert choose_device("") == "cpu"
        with pytest.raises(SettingsError, match=r'no training\.device="cuda" on this machine'):
            choose_device("cuda")


def test_dropout_is_the_networks_own_unless_another_share_is_set() -> None:
    model = build_model("cnn", num_classes=2)
    assert isinstance(model, CNN)
    set_dropout(model, -1)
    assert model.dropout.p == 0.3
    set_dropout(model, 0.5)
    assert model.dropout.p == 0.5


def test_a_batch_is_computed_in_parts_only_on_a_cpu_and_where_no_statistics_are_learned_over_it() -> None:
    settings = Settings(training=OptimiserSettings(batch_size=64))
    assert choose_micro_batch(settings, "cpu", pretrained=True) == 16
    assert choose_micro_batch(settings, "cpu", pretrained=False) == 64
    assert choose_micro_batch(settings, "cuda:1", pretrained=True) == 64
    few = Settings(training=OptimiserSettings(batch_size=4))
    assert choose_micro_batch(few, "cpu", pretrained=True) == 4
    asked = Settings(training=OptimiserSettings(batch_size=64, micro_batch=16))
    assert (
        choose_micro_batch(asked, "cpu", pretrained=True) == choose_micro_batch(asked, "cuda", pretrained=False) == 16
    )


def test_small_images_train_in_float32_on_a_cpu() -> None:
    settings = Settings(model="resnet50", training=OptimiserSettings(precision="bfloat16"))
    assert choose_precision(settings, "cpu", [16, 32]) == "float32"
    assert choose_precision(settings, "cpu", [32, 48]) == "bfloat16"
    assert choose_precision(settings, "cuda", [16, 32]) == "bfloat16"
    assert choose_precision(settings, "cpu", []) == "bfloat16"
    plain = Settings(model="cnn", training=OptimiserSettings(precision="bfloat16"))
    assert choose_precision(plain, "cpu", [16]) == "bfloat16"


@pytest.mark.skipif(not computes_bfloat16("cpu"), reason="the processor does not compute in bfloat16")
@pytest.mark.parametrize(("name", "side"), [("resnet18", 32), ("resnet50", 32), ("vgg11_bn", 32), ("cnn", 8)])
def test_gradients_in_bfloat16_do_not_depend_on_what_was_in_memory(name: str, side: int) -> None:
    found = []
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = lay_channels_last(build_model(name)).eval()
        images = torch.rand(6, 3, side, side).to(memory_format=torch.channels_last)
    for filling in (0.0, 1e30, math.nan) * 2:
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(images).float().square().mean()
        spoiled = [torch.full((2**power,), filling) for power in range(4, 23) for _ in range(4)]
        del spoiled
        model.zero_grad()
        loss.backward()
        found.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    for gradients in zip(*found, strict=True):
        assert torch.isfinite(gradients[0]).all()
        assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)

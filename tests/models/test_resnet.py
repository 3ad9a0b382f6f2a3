"""What only a ResNet has: where its stride stands, and how it starts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from eyebright.models.resnet import DEPTHS, ResNet
from eyebright.training.epochs import train_with_frozen_statistics


def test_the_stride_of_a_stage_stands_where_it_was_asked_for() -> None:
    for layout, strides in (("3x3", ((1, 1), (2, 2))), ("1x1", ((2, 2), (1, 1)))):
        with torch.device("meta"):
            model = ResNet(50, stride_in=layout)  # type: ignore[arg-type]
        for stage in ("layer2", "layer3", "layer4"):
            found = []
            for name in ("conv1", "conv2"):
                convolution = model.get_submodule(f"{stage}.0.{name}")
                assert isinstance(convolution, nn.Conv2d)
                found.append(convolution.stride)
            assert tuple(found) == strides, (layout, stage)


def test_both_layouts_have_the_same_tensors_and_give_different_numbers() -> None:
    """Why weights must carry their layout: nothing but the result shows the mistake."""
    torch.manual_seed(0)
    one, other = ResNet(50, num_classes=2, stride_in="1x1").eval(), ResNet(50, num_classes=2, stride_in="3x3").eval()
    for module in one.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    other.load_state_dict(one.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(one(images), other(images), rtol=1e-2)


def test_basic_blocks_know_no_layout() -> None:
    torch.manual_seed(0)
    one, other = ResNet(18, num_classes=2, stride_in="1x1").eval(), ResNet(18, num_classes=2, stride_in="3x3").eval()
    other.load_state_dict(one.state_dict())
    images = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(one(images), other(images))


def test_the_name_of_a_depth_counts_its_weighted_layers() -> None:
    for depth, (counts, is_bottleneck) in DEPTHS.items():
        with torch.device("meta"):
            model = ResNet(depth)
        weighted = [
            name
            for name, module in model.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear) and "downsample" not in name
        ]
        assert len(weighted) == depth == sum(counts) * (3 if is_bottleneck else 2) + 2


def test_a_block_starts_as_its_shortcut() -> None:
    torch.manual_seed(0)
    model = ResNet(50, num_classes=2).eval()
    x = torch.rand(1, 256, 8, 8)  # what follows a ReLU is not negative
    with torch.no_grad():
        assert torch.equal(model.get_submodule("layer1.1")(x), x)


def test_parameter_names_are_those_of_published_files() -> None:
    with torch.device("meta"):
        names = set(ResNet(50).state_dict())
    assert {
        "conv1.weight",
        "bn1.running_mean",
        "layer1.0.downsample.0.weight",
        "layer1.0.downsample.1.bias",
        "layer4.2.conv3.weight",
        "layer3.5.bn2.num_batches_tracked",
        "fc.weight",
        "fc.bias",
    } <= names
    assert len(names) == 320


@pytest.mark.parametrize("depth", [18, 50])
def test_statistics_that_are_kept_are_a_part_of_the_weights(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers and gradients are those of BatchNorm behind each convolution."""

    def learn(model: ResNet, images: Tensor) -> dict[str, Tensor]:
        answers = model(images)
        names, parameters = zip(*model.named_parameters(), strict=True)
        found = torch.autograd.grad(answers.square().mean(), parameters)
        return {"answers": answers.detach(), **dict(zip(names, found, strict=True))}

    torch.manual_seed(0)
    model = ResNet(depth, num_classes=3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.3, 1.0)
            nn.init.normal_(module.bias, std=0.2)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            nn.init.normal_(buffer, std=0.2)
        elif name.endswith("running_var"):
            nn.init.uniform_(buffer, 0.5, 2.0)
    model = model.double()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    before = {name: tensor.clone() for name, tensor in model.named_buffers()}
    train_with_frozen_statistics(model)
    carried = learn(model, images)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.named_buffers())
    plain = learn(model.eval(), images)
    for name, values in plain.items():
        assert values.abs().max() > 0, name
        torch.testing.assert_close(carried[name], values, rtol=1e-8, atol=1e-12, msg=name)
    seen = []
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda *_: seen.append(True))
    train_with_frozen_statistics(model)
    model(images)
    assert not seen, "BatchNorm ran over the activations"

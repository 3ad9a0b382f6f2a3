"""What only the plain CNN has: a table of widths, and a head that starts undecided."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from eyebright.models.cnn import CNN, WIDTHS


@pytest.mark.parametrize("width", WIDTHS)
def test_a_width_is_what_the_table_says(width: str) -> None:
    stages, units = WIDTHS[width]
    model = CNN(width, num_classes=4)
    convolutions = [module.out_channels for module in model.features if isinstance(module, nn.Conv2d)]
    assert convolutions == [count for stage in stages for count in stage]
    assert model.embedding_width == model.hidden.out_features == units
    assert model.stages == tuple(f"stage{i}" for i in range(1, len(stages) + 1))


def test_a_deep_network_knows_the_stage_of_each_of_its_two_convolutions() -> None:
    model = CNN("deep", num_classes=4)
    names = [name for name, module in model.features.named_children() if isinstance(module, nn.Conv2d)]
    assert [model.stage_of(f"features.{name}.weight") for name in names] == [0, 0, 1, 1, 2, 2]
    assert model.stage_of("hidden.weight") == model.stage_of("fc.bias") == 3
    with torch.no_grad():
        found = model.eval().forward_features(torch.randn(1, 3, 32, 32))
    assert [(name, tuple(maps.shape[1:])) for name, maps in found.items()] == [
        ("stage1", (32, 16, 16)),
        ("stage2", (64, 8, 8)),
        ("stage3", (128, 4, 4)),
    ]
    assert all((maps >= 0).all() for maps in found.values()), "a stage ends with its ReLU"


def test_a_fresh_network_gives_every_class_the_same_probability() -> None:
    with torch.no_grad():
        assert torch.equal(CNN(num_classes=4).eval()(torch.randn(2, 3, 28, 28)), torch.zeros(2, 4))


def test_dropout_acts_while_training_and_not_after() -> None:
    torch.manual_seed(0)
    model, image = CNN("small", num_classes=4), torch.randn(1, 3, 28, 28)
    with torch.no_grad():
        assert not torch.equal(model.train().embed(image), model.embed(image))
        assert torch.equal(model.eval().embed(image), model.embed(image))


def test_even_one_pixel_passes() -> None:
    with torch.no_grad():
        assert CNN(num_classes=4, in_channels=1).eval()(torch.randn(1, 1, 1, 1)).shape == (1, 4)


def test_it_learns_two_kinds_of_stripes_in_a_few_steps() -> None:
    torch.manual_seed(0)
    model = CNN("small", num_classes=2, in_channels=1)
    stripes = (torch.arange(16) % 4 < 2).float() * 2 - 1
    images = torch.stack([stripes.expand(16, 16), stripes[:, None].expand(16, 16)])[:, None]
    labels = torch.tensor([0, 1]).repeat(8)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for _ in range(20):
        optimiser.zero_grad()
        batch = images.repeat(8, 1, 1, 1) + 0.3 * torch.randn(16, 1, 16, 16)
        torch.autograd.backward(nn.functional.cross_entropy(model(batch), labels))
        optimiser.step()
    with torch.no_grad():
        assert model.eval()(images).argmax(1).tolist() == [0, 1]

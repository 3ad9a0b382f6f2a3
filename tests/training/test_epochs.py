from __future__ import annotations

import torch

from eyebright.models.catalog import build_model
from eyebright.training.epochs import set_depths, train_with_frozen_statistics
from eyebright.training.optim import build_optimizer


def test_frozen_stages_stay_as_they_came_and_lower_ones_learn_less() -> None:
    model = build_model("resnet18", num_classes=2)
    scales = set_depths(model, 2, 0.1)
    assert scales["fc.weight"] == 1
    assert [round(scales[f"layer{number}.0.conv1.weight"], 6) for number in (4, 3, 2)] == [0.1, 0.01, 0.001]
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(model, kind="adamw", lr=1.0, weight_decay=0.0, scales=scales)
    for group in optimizer.param_groups:
        group["lr"] = 0.01 * group["scale"]
    train_with_frozen_statistics(model)
    model(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    optimizer.step()
    moved = {name: float((now.detach() - before[name]).abs().max()) for name, now in model.named_parameters()}
    assert all(change == 0 for name, change in moved.items() if name.startswith(("conv1", "bn1", "layer1")))
    # The last BatchNorm of each block, which starts at zero: what lies below it in the block has no gradient yet.
    steps = [moved[f"layer{number}.1.bn2.weight"] for number in (2, 3, 4)]
    assert [round(step, 7) for step in steps] == [1e-5, 1e-4, 1e-3]  # AdamW's first step is as long as its rate

from __future__ import annotations

import pytest
import torch

from eyebright.errors import SettingsError
from eyebright.models.catalog import build_model
from eyebright.training.epochs import train_with_frozen_statistics
from eyebright.training.start import choose_device


def test_fine_tuning_leaves_the_statistics_of_batch_norm_alone_but_learns_its_weights() -> None:
    model = build_model("resnet18", num_classes=2)
    train_with_frozen_statistics(model)
    before = model.get_submodule("bn1").running_mean.clone()  # type: ignore[operator]
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert torch.equal(model.get_submodule("bn1").running_mean, before)  # type: ignore[arg-type]
    assert model.get_submodule("bn1").weight.grad is not None
    assert model.training


def test_a_device_that_is_not_there_is_said() -> None:
    assert choose_device("cpu") == "cpu"
    with pytest.raises(SettingsError, match='not "abacus"'):
        choose_device("abacus")
    if not torch.cuda.is_available():
        assert choose_device("") == "cpu"
        with pytest.raises(SettingsError, match=r'no training\.device="cuda" on this machine'):
            choose_device("cuda")

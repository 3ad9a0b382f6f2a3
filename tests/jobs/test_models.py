from __future__ import annotations

from eyebright.jobs.models import list_models
from eyebright.models.catalog import MODELS
from eyebright.models.published import WEIGHTS


def test_every_network_and_all_weights_are_listed() -> None:
    listed = list_models()
    assert [model.name for model in listed] == list(MODELS)
    assert sum(len(model.weights) for model in listed) == len(WEIGHTS)
    resnet50 = next(model for model in listed if model.name == "resnet50")
    assert resnet50.parameters == 25_557_032
    assert round(resnet50.multiply_adds / 1e9, 2) == 4.09
    assert {weights.place for weights in resnet50.weights} <= {
        "starter",
        "starter (not installed)",
        "cache",
        "download",
    }

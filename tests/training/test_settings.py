from __future__ import annotations

import pytest

from eyebright.errors import SettingsError
from eyebright.settings import build_settings
from eyebright.training.settings import Settings


@pytest.mark.parametrize(
    "values",
    [
        {"data": {"image_size": 4}},
        {"data": {"fit": "stretch"}},
        {"network": {"embed_stages": 9}},
        {"training": {"epochs": -1}},
        {"training": {"lr": -0.1}},
        {"training": {"warmup": 1.0}},
        {"training": {"label_smoothing": 1.0}},
        {"network": {"dropout": 1.0}},
        {"network": {"dropout": -0.5}},
        {"training": {"layer_decay": 1.5}},
        {"training": {"optimiser": "adam"}},
        {"training": {"balance": "wieghts"}},
        {"training": {"precision": "float16"}},
        {"training": {"first_size": 4}},
        {"training": {"temperature": 0.0}},
        {"augmentation": {"mixup": -0.5}},
        {"effort": "bets"},
        {"seed": -1},
    ],
)
def test_out_of_range_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        build_settings(Settings, values)


def test_a_misspelled_choice_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r'training\.balance can\'t be "wieghts"; did you mean "weights"\?'):
        build_settings(Settings, {"training": {"balance": "wieghts"}})

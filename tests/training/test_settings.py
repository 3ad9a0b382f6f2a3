from __future__ import annotations

from pathlib import Path

import pytest

from eyebright.errors import SettingsError
from eyebright.settings import build_settings, load_settings
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


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.epochs=-1", "between 0 and 100000$"),
        ("training.lr=nan", "nan; it lies between 0 and 100$"),
        ("training.weight_decay=-2", "between 0 and 10, or -1, which chooses$"),
        ("training.first_size=3", "between 8 and 1024, or 0, which chooses$"),
    ],
)
def test_what_is_out_of_range_names_the_range(override: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        load_settings(Settings, overrides=[override])


@pytest.mark.parametrize("text", ["[training]\nepoch = 2", "[training]\nepochs = '2'", "training = 3"])
def test_what_is_wrong_in_a_file_names_the_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"mine\.toml"):
        load_settings(Settings, file=file)
    file.write_text("")
    with pytest.raises(SettingsError, match=r"training\.epoch") as caught:
        load_settings(Settings, file=file, overrides=["training.epoch=2"])
    assert "mine.toml" not in str(caught.value)

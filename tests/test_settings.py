from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyebright.errors import SettingsError
from eyebright.settings import load_settings, override_settings, to_toml


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.1
    steps: int = 3
    on: bool = True
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str = "plain"
    inner: Inner = field(default_factory=Inner)


def test_defaults_then_file_then_overrides(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('name = "file"\n[inner]\nrate = 1\nsteps = 5\n')
    assert load_settings(Outer) == Outer()
    assert load_settings(Outer, file=file) == Outer(name="file", inner=Inner(rate=1.0, steps=5))
    loaded = load_settings(Outer, file=file, overrides=["inner.steps=7", "inner.on = false", "name=a bare text"])
    assert loaded == Outer(name="a bare text", inner=Inner(rate=1.0, steps=7, on=False))
    listed = load_settings(Outer, overrides=["inner.names=['a', 'b']"])
    assert override_settings(listed, ["name=x"]).inner.names == ("a", "b")
    assert load_settings(Outer, overrides=["inner.names=one"]).inner.names == ("one",)
    assert override_settings(Outer(name="x"), ["inner.rate=2"]) == Outer(name="x", inner=Inner(rate=2.0))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("nme=x", 'no setting "nme"; did you mean "name"'),
        ("inner.step=1", 'no setting "inner.step"; did you mean "steps"'),
        ("inner.steps=1.5", "inner.steps must be a whole number, not 1.5"),
        ("inner.steps=true", "must be a whole number, not True"),
        ("inner.on=1", "must be true or false, not 1"),
        ("inner.rate=fast", "must be a number, not 'fast'"),
        ("inner=3", "inner is a section"),
        ("inner.names=[1]", r"inner.names must be a list of texts, not \[1\]"),
        ("inner.names=3", "inner.names must be a list of texts, not 3"),
        ("name.x=3", "name must be a text"),
        ("inner.rate.deep=3", "must be a number"),
        ("nothing", "is no setting; write it as section.key=value"),
        ("=3", "is no setting"),
    ],
)
def test_a_mistake_names_the_setting(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(Outer, overrides=[override])


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("name = ")
    with pytest.raises(SettingsError, match=r"s\.toml is not valid TOML"):
        load_settings(Outer, file=file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"s\.toml is not valid TOML"):
        load_settings(Outer, file=file)
    with pytest.raises(SettingsError, match=r"absent\.toml can't be read"):
        load_settings(Outer, file=tmp_path / "absent.toml")


@given(
    name=st.text(st.characters(exclude_categories=["Cs"])),
    rate=st.floats(allow_nan=False, allow_infinity=False),
    steps=st.integers(-(2**63), 2**63 - 1),
    on=st.booleans(),
    names=st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, name: str, rate: float, steps: int, on: bool, names: list[str]
) -> None:
    settings = Outer(name=name, inner=Inner(rate=rate, steps=steps, on=on, names=tuple(names)))
    file = tmp_path_factory.mktemp("s") / "s.toml"
    file.write_text(to_toml(settings), encoding="utf-8")
    assert load_settings(Outer, file=file) == settings


def test_texts_beyond_the_first_plane_and_control_characters_survive() -> None:
    for name in ("\U0001f33c photos", "a\x7fb\x00\x1f", "\u2028\x85\ufeff", 'quote " and \\ and \t'):
        assert tomllib.loads(to_toml(Outer(name=name)))["name"] == name


def test_bytes_that_are_no_text_do_not_spoil_the_file() -> None:
    assert tomllib.loads(to_toml(Outer(name="a\udcffb")))["name"] == "a?b"


def test_a_file_saved_by_notepad_is_read(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_bytes(b"\xef\xbb\xbfname = 'x'\r\n")
    assert load_settings(Outer, file=file).name == "x"


@pytest.mark.parametrize("text", ["1" + "0" * 400, "[" * 100_000, "9" * 5000])
def test_absurd_values_are_refused_without_a_crash(text: str) -> None:
    with pytest.raises(SettingsError, match=r"inner\.on must be true or false"):
        load_settings(Outer, overrides=[f"inner.on={text}"])


def test_a_whole_number_beyond_all_floats_is_infinite() -> None:
    assert load_settings(Outer, overrides=["inner.rate=1" + "0" * 400]).inner.rate == math.inf

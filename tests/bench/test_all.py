from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import all as driver  # of bench/, which is on the path of the tests
import pytest
from picture import Bar, draw_bars

from eyebright.drawing.scene import Outline
from eyebright.drawing.svg import write_svg

BENCH = Path(driver.__file__).parent


def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCH / "all.py", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=900, check=False)


def test_a_part_replaces_only_what_stands_between_its_markers() -> None:
    page = "# Benchmarks\n\nWritten by hand.\n\n<!-- bench:a -->\nold\n<!-- /bench:a -->\n\nAnd this.\n"
    once = driver.replace_part(page, "a", "new")
    assert once == page.replace("old", "new")
    assert driver.replace_part(once, "a", "new") == once
    both = driver.replace_part(once, "b", "more")
    assert both == once + "\n<!-- bench:b -->\nmore\n<!-- /bench:b -->\n"
    with pytest.raises(SystemExit, match="no <!-- /bench:a -->"):
        driver.replace_part("<!-- bench:a -->\nold\n", "a", "new")


def test_every_part_has_a_script_a_quick_form_and_a_name_of_its_own() -> None:
    assert len({part.name for part in driver.PARTS}) == len(driver.PARTS)
    for part in driver.PARTS:
        assert (BENCH / part.script).is_file()
        assert part.quick


def test_quick_figures_are_kept_off_the_page(tmp_path: Path) -> None:
    done = call("--quick")
    assert done.returncode == 2
    assert "not fit for docs/bench.md" in done.stderr
    unknown = call("--only", "decoding", "--out", tmp_path / "bench.md")
    assert unknown.returncode == 2
    assert "there is no part decoding" in unknown.stderr


def test_a_part_that_fails_keeps_what_stood_there(tmp_path: Path) -> None:
    page = tmp_path / "bench.md"
    page.write_text("<!-- bench:decode -->\nolder\n<!-- /bench:decode -->\n")
    done = call("--quick", "--only", "decode,peers-training", "--images", tmp_path / "nowhere", "--out", page)
    assert done.returncode == 1
    assert "decode failed" in done.stderr
    text = page.read_text()
    assert "older" in text
    assert "Skipped: Keras and scikit-learn are not set up" in text


@pytest.mark.slow
@pytest.mark.parametrize("part", ["decode", "training", "processes", "growth", "trained", "gpu"])
def test_every_part_runs_on_tiny_inputs(part: str, tmp_path: Path) -> None:
    page = tmp_path / "bench.md"
    done = call("--quick", "--only", part, "--out", page)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert f"<!-- bench:{part} -->" in text
    assert "load " in text
    assert "`python bench/" in text


@pytest.mark.slow
def test_the_engines_part_draws_its_picture(tmp_path: Path) -> None:
    done = call("--quick", "--only", "inference-resnet50", "--out", tmp_path / "bench.md")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "bench.md").read_text()
    assert "| plain: Pillow, torch eager float32 |" in text
    assert "| onnx |" in text
    assert "(bench.svg)" in text
    drawing = ElementTree.parse(tmp_path / "bench.svg")
    assert "ResNet-50, 224 pixels" in "".join(drawing.getroot().itertext())


def test_bars_are_as_long_as_their_numbers() -> None:
    bars = [
        Bar(name="plain", low=1, median=2, high=3),
        Bar(name="fast", low=7, median=8, high=9, times=4.2),
    ]
    scene = draw_bars("Speed", [("A network", bars)], "Measured here.")
    lengths = []
    for part in scene.flat():
        if isinstance(part, Outline) and part.paint in ("quiet", "accent"):
            xs = [float(step[index]) for step in part.steps for index in range(1, len(step), 2)]
            lengths.append(max(xs) - min(xs))
    assert lengths[1] / lengths[0] == pytest.approx(4)
    words = "".join(ElementTree.fromstring(write_svg(scene)).itertext())
    assert "(4.2 times)" in words
    assert "A network" in words

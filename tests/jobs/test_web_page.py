"""A page of a trained network, opened as a file in a real browser: it answers as `predict` does, fetches nothing."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import eyebright as eb
from eyebright.bundle.engines import read_engines
from eyebright.bundle.manifest import find_bundle, read_manifest
from eyebright.errors import BundleError, OutputError, SettingsError
from eyebright.jobs.export import export
from eyebright.jobs.predict import write_csv
from eyebright.jobs.train import Run

HOSTILE = "=1+1<img src=x onerror=alert(1)>.png"
DROP = """
const dropped = new DataTransfer();
dropped.items.add(new File(["words"], "dropped.txt"));
document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
"""


@pytest.fixture(scope="module")
def folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run with a page in it."""
    pytest.importorskip("eyebright_browser")
    folder = tmp_path_factory.mktemp("pages") / "run"
    shutil.copytree(run.folder, folder)
    made = export(folder, to="web")
    assert made.path == folder / "web.html"
    assert made.verified.engine == "onnx"
    return folder


def draw_images(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files that the browser and Python decode to the same pixels, and files that they may not."""
    random = np.random.default_rng(3)
    noise = random.integers(0, 120, (40, 60, 3), dtype=np.uint8)
    noise[..., 0] += 110
    smooth = np.asarray(Image.fromarray(noise).resize((900, 500), Image.Resampling.BICUBIC))
    green = Image.fromarray(np.roll(noise, 1, axis=2))
    exact = {
        "oblong.png": Image.fromarray(noise),
        "tall.png": green.crop((0, 0, 20, 40)).resize((20, 160)),
        "grey.png": Image.fromarray(noise).convert("L"),
        "palette.png": Image.fromarray(noise).quantize(16),
        "small.png": green.resize((3, 5)),
        HOSTILE: green,
    }
    near = {"photo.jpg": Image.fromarray(smooth), "clear.png": green.copy()}
    near["clear.png"].putalpha(200)
    made: dict[str, Path] = {}
    for name, image in (exact | near).items():
        made[name] = folder / name
        image.save(made[name])
    turned = Image.fromarray(noise)
    exif = turned.getexif()
    exif[0x0112] = 6
    made["turned.png"] = folder / "turned.png"
    turned.save(made["turned.png"], exif=exif)
    made["broken.png"] = folder / "broken.png"
    made["broken.png"].write_bytes(made["oblong.png"].read_bytes()[:60])
    made["cut-off.jpg"] = folder / "cut-off.jpg"
    made["cut-off.jpg"].write_bytes(made["photo.jpg"].read_bytes()[:-500])
    made["empty.jpg"] = folder / "empty.jpg"
    made["empty.jpg"].touch()
    return [made[name] for name in (*exact, "turned.png", "broken.png", "cut-off.jpg", "empty.jpg")], [
        made[name] for name in near
    ]


@pytest.mark.browser
def test_the_page_answers_as_predict_does_and_fetches_nothing(browser: Any, folder: Path, tmp_path: Path) -> None:
    exact, near = draw_images(tmp_path)
    predictor = eb.load(folder, engine="onnx")
    wanted = predictor.predict([str(path) for path in exact + near])
    context = browser.new_context(offline=True, accept_downloads=True)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append("dialog"))
    address = (folder / "web.html").as_uri()
    page.on(
        "request",
        lambda request: wrong.extend(
            [request.url] if request.url != address and not request.url.startswith("blob:") else []
        ),
    )
    page.goto(address)
    page.set_input_files("#files", [str(path) for path in exact + near])  # before the network is there
    page.locator('#status[data-state="ready"]').wait_for(timeout=60_000)
    assert "12 images classified" in page.inner_text("#status")
    assert "3 could not be read" in page.inner_text("#status")
    check = json.loads(page.get_attribute("body", "data-check"))
    assert check["pixels"]
    assert check["reads"]
    assert check["share"] < 1e-5
    assert page.locator("#answers img").count() == 0
    assert HOSTILE in page.inner_text("#answers")
    assert not page.locator("#doubt").is_visible()
    with page.expect_download() as download:
        page.click("#save")
    text = download.value.path().read_text(encoding="utf-8")
    page.click("#clear")
    assert page.locator("#answers li").count() == 0
    # Not by `evaluate`, which the page's policy forbids as it forbids every other script.
    page.context.new_cdp_session(page).send("Runtime.evaluate", {"expression": DROP})
    page.get_by_text("1 image classified · 1 could not be read").wait_for(timeout=20_000)
    assert "dropped.txt" in page.inner_text("#answers")
    context.close()
    assert wrong == []
    rows = list(csv.reader(io.StringIO(text)))
    written = io.StringIO()
    write_csv(written, wanted, predictor.class_names)
    expected_rows = list(csv.reader(io.StringIO(written.getvalue())))
    assert rows[0] == expected_rows[0]
    for row, expected, path in zip(rows[1:], expected_rows[1:], exact + near, strict=True):
        assert row[0] == ("'" * path.name.startswith("=") + path.name)
        assert bool(row[5]) == bool(expected[5]), row
        if row[5]:
            continue
        assert row[1] == expected[1], path.name
        if path in exact:
            assert row[3:5] == expected[3:5]
        shares = [[float(share) for share in (line[2], *line[6:])] for line in (row, expected)]
        assert shares[0] == pytest.approx(shares[1], abs=3e-6 if path in exact else 0.02), path.name
    assert {row[1] for row in rows[1:]} >= {"red", "green"}


def test_an_export_is_used_again_and_no_page_is_overwritten(folder: Path, tmp_path: Path) -> None:
    before = read_manifest(find_bundle(folder))
    with pytest.raises(OutputError, match=r"web\.html exists already"):
        export(folder, to="web")
    made = export(folder, to="web", out=tmp_path / "again.html")
    assert made.path.read_bytes() == (folder / "web.html").read_bytes()
    assert read_manifest(find_bundle(folder)) == before
    assert [engine.engine for engine in read_engines(find_bundle(folder), before)] == ["onnx"]


def test_mistakes_are_named_before_anything_is_done(folder: Path, tmp_path: Path) -> None:
    bundle = find_bundle(folder)
    for arguments, kind, words in (
        ({"run": bundle, "to": "web"}, SettingsError, r"give --out page\.html"),
        ({"run": folder, "to": "onnx", "out": tmp_path / "x.onnx"}, SettingsError, "--to web"),
        ({"run": folder, "to": "wep"}, SettingsError, "web"),
        ({"run": folder, "to": "web", "out": tmp_path / "no" / "page.html"}, OutputError, "there is no folder"),
        ({"run": tmp_path / "nowhere", "to": "web", "out": tmp_path / "page.html"}, BundleError, "there is no folder"),
    ):
        given: dict[str, Any] = arguments
        with pytest.raises(kind, match=words):
            export(**given)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_alone_is_enough(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(find_bundle(folder), tmp_path / "bundle")
    made = export(tmp_path / "bundle", to="web", out=tmp_path / "page.html")
    assert made.path.read_bytes() == (folder / "web.html").read_bytes()

"""One image, every road to an answer: in whatever form it comes, through whatever engine, it gets the same one."""

from __future__ import annotations

import csv
import io
import shutil
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import eyebright as eb
from eyebright.cli.main import main
from eyebright.embedding.embed import computes_bfloat16
from eyebright.jobs.export import export
from eyebright.jobs.predict import predict
from eyebright.jobs.train import Run

Answer = tuple[str, dict[str, float], tuple[str, ...], str | None]
"""Label, probabilities by class, set, and why it is unsure."""


@pytest.fixture(scope="module")
def exported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A copy of the run with every engine that this machine can run, and their names."""
    folder = tmp_path_factory.mktemp("roads") / "run"
    shutil.copytree(run.folder, folder)
    engines = ["torch"]
    wanted = [("onnx", False), ("onnx", True)]
    wanted += [("torch", False)] if computes_bfloat16("cpu") else []
    wanted += [("openvino", False), ("openvino", True)] if find_spec("openvino") else []
    wanted += [("executorch", False)] if find_spec("executorch") else []
    for to, int8 in wanted:
        engines.append(export(folder, to=to, int8=int8, max_drop=20).verified.engine)
    return folder, engines


def walk(folder: Path, engine: str, path: Path, other: Path, scratch: Path) -> dict[str, Answer]:
    """The answers for one image by every road through one engine."""
    content, picture = path.read_bytes(), Image.open(path)
    array = np.asarray(Image.open(io.BytesIO(content)))
    predictor = eb.load(folder, engine=engine)
    assert predictor.engine == engine
    with zipfile.ZipFile(scratch / f"{engine}.zip", "w") as archive:
        archive.write(path, "inside/image.png")
    found: dict[str, eb.Prediction] = {
        "a path": predictor.predict(path),
        "a path as text": predictor.predict(str(path)),
        "bytes": predictor.predict(content),
        "a Pillow image": predictor.predict(picture),
        "an array": predictor.predict(array),
        "a list": predictor.predict([other, path, content])[1],
        "a stack": predictor.predict(np.stack([array, array]))[1],
        "files": list(predict(folder, [other, path], engine=engine).predictions)[1],
        "a zip": next(predict(folder, [scratch / f"{engine}.zip"], engine=engine).predictions),
        "a pipe": next(predict(folder, ["-"], piped=content, engine=engine).predictions),
    }
    answers = {
        road: (answer.label or "", dict(answer.probabilities), answer.set, answer.unsure)
        for road, answer in found.items()
    }
    written = scratch / f"{engine}.csv"
    with pytest.raises(SystemExit) as left:
        main(["predict", str(folder), str(other), str(path), "--engine", engine, "--out", str(written)])
    assert left.value.code == 0
    answers["the command line"] = read_answer(written.read_text(encoding="utf-8"))
    return answers


def read_answer(text: str) -> Answer:
    """That of the second image in a CSV file."""
    row = list(csv.DictReader(io.StringIO(text)))[1]
    shares = {name.removeprefix("p:"): float(share) for name, share in row.items() if name.startswith("p:")}
    return row["label"], shares, tuple(row["set"].split("|")), row["unsure"] or None


def ask_page(browser: Any, page_file: Path, paths: list[Path]) -> str:
    """What a page in Chromium answers, as its CSV file."""
    context = browser.new_context(offline=True, accept_downloads=True)
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.locator('#status[data-state="ready"]').wait_for(timeout=60_000)
    page.set_input_files("#files", [str(path) for path in paths])
    page.get_by_text(f"{len(paths)} images classified").wait_for(timeout=60_000)
    with page.expect_download() as download:
        page.click("#save")
    text: str = download.value.path().read_text(encoding="utf-8")
    context.close()
    return text


def same(answer: Answer, wanted: Answer, road: str, *, within: float) -> None:
    label, shares, inside, unsure = answer
    assert label == wanted[0], road
    assert shares == pytest.approx(wanted[1], abs=within), road
    assert inside == wanted[2], road
    assert unsure == wanted[3], road


def test_every_form_gets_the_same_answer_from_every_engine(
    exported: tuple[Path, list[str]], photos: Path, tmp_path: Path
) -> None:
    folder, engines = exported
    path, other = photos / "red" / "03.png", photos / "blue" / "00.png"
    wanted = walk(folder, "torch", path, other, tmp_path)["bytes"]
    assert wanted[0] == "red"
    assert wanted[2]
    assert {"torch", "onnx", "onnx-int8"} <= set(engines)
    for engine in engines:
        (tmp_path / engine).mkdir()
        answers = walk(folder, engine, path, other, tmp_path / engine)
        first = answers["bytes"]
        for road, answer in answers.items():
            same(answer, first, f"{engine}: {road}", within=1e-5)
        assert first[0] == wanted[0], engine
        if engine in ("torch", "onnx"):  # the others round, and say by how much when they are exported
            same(first, wanted, engine, within=1e-5)


@pytest.mark.browser
@pytest.mark.parametrize("int8", [False, True])
def test_a_page_gives_it_too(
    browser: Any, exported: tuple[Path, list[str]], photos: Path, tmp_path: Path, int8: bool
) -> None:
    pytest.importorskip("eyebright_browser")
    folder, _ = exported
    path, other = photos / "red" / "03.png", photos / "blue" / "00.png"
    made = export(folder, to="web", int8=int8, out=tmp_path / "page.html")
    answer = read_answer(ask_page(browser, made.path, [other, path]))
    found = eb.load(folder, engine=made.verified.engine).predict(path)
    wanted = (found.label, dict(found.probabilities), found.set, found.unsure)
    same(answer, wanted, made.verified.engine, within=0.02 if int8 else 1e-5)

"""The page's parts: what stands in it, and that its JavaScript computes what Python does."""

from __future__ import annotations

import shutil
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.bundle.engines import VerifiedEngine
from eyebright.bundle.manifest import Architecture, Manifest
from eyebright.calibration.calibrate import calibrate
from eyebright.calibration.calibration import REASONS, Calibration, Promises
from eyebright.errors import ExportError
from eyebright.exporting import web
from eyebright.exporting.web import WebSubject, draw_pattern, render_web, resizes_tall_first
from eyebright.exporting.web_runtime import WebRuntime, read_runtime
from eyebright.inference.predictor import Predictor, softmax
from eyebright.preprocess import Preprocessing

Interpolation = Literal["bilinear", "bicubic"]
Fit = Literal["crop", "squash"]
HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'
RUNTIME = WebRuntime(version="1", script="export {}", wasm=b"wasm", licence="free <of> charge", notices=b"notices")
VERIFIED = VerifiedEngine(
    engine="onnx",
    file="network.onnx",
    weights_sha256="",
    num_images=20,
    num_agree=19,
    num_correct=18,
    torch_correct=17,
    largest_difference=0,
    largest_logit=1,
    size_bytes=4,
    latency_seconds=1,
    images_per_second=1,
    torch_latency_seconds=1,
    torch_images_per_second=1,
    how="",
    machine="",
    created="",
)


class Means:
    """Stands in for a network: the mean of each channel."""

    name = "onnx"

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = images.mean(axis=(2, 3), dtype=np.float32)
        return found

    def run_and_embed(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.run(images), self.run(images)


def predictor(*, calibration: Calibration | None = None, thresholds: tuple[float, ...] | None = None) -> Predictor:
    manifest = Manifest(
        architecture=Architecture(model="cnn", num_classes=3, in_channels=3),
        class_names=("rose", HOSTILE, "tulip\u202e"),
        preprocessing=Preprocessing(image_size=8, resize=8),
        provenance={},
        files={},
        thresholds=thresholds,
    )
    return Predictor(Means(), manifest, calibration)


def calibrated(seed: int = 0, count: int = 200) -> tuple[Calibration, NDArray[np.float32]]:
    """A calibration, and logits (N, 3) of images like those it was measured on."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    logits = random.normal(0, 2, (count, 3)).astype(np.float32)
    logits[np.arange(count), labels] += 3
    embeddings = random.normal(0, 1, (count, 3)).astype(np.float32) + 2
    found = calibrate(logits, labels, embeddings=embeddings, references=embeddings[:40])
    return found, random.normal(0, 3, (60, 3)).astype(np.float32)


def test_names_are_inert_and_the_policy_lets_nothing_in_or_out() -> None:
    page = render_web(WebSubject(title=HOSTILE, facts=(HOSTILE,)), predictor(), b"net", VERIFIED, RUNTIME)
    assert page.count("alert(1)</script>") == 0
    assert "<img" not in page
    assert "\u202e" not in page
    assert "default-src 'none'" in page
    assert "blob: 'wasm-unsafe-eval'; worker-src blob:" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "free &lt;of&gt; charge" in page


def test_the_page_says_how_it_was_checked_and_what_answers_are_worth() -> None:
    calibration, _ = calibrated()
    page = render_web(WebSubject(title="t", facts=()), predictor(calibration=calibration), b"net", VERIFIED, RUNTIME)
    assert "20 test images: the same class for 19 of them, 18 right (17 before the export)" in page
    assert "calibrated on 200 validation images" in page
    assert "at most 5&#160;%" in page.replace(" %", "&#160;%")
    assert "90 % of the time" in page
    several = render_web(
        WebSubject(title="t", facts=()), predictor(thresholds=(0.5, 0.2, 0.3)), b"net", VERIFIED, RUNTIME
    )
    assert "question of its own" in several


def test_the_same_classifier_gives_the_same_page() -> None:
    pages = {render_web(WebSubject(title="t", facts=()), predictor(), b"net", VERIFIED, RUNTIME) for _ in range(2)}
    assert len(pages) == 1


def test_a_network_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MOST_BYTES", 2)
    with pytest.raises(ExportError, match="--int8"):
        render_web(WebSubject(title="t", facts=()), predictor(), b"net", VERIFIED, RUNTIME)


def test_a_runtime_that_is_absent_or_altered_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "eyebright_browser", None)
        with pytest.raises(ExportError, match=r"pip install ./browser"):
            read_runtime()
    package = pytest.importorskip("eyebright_browser")
    assert read_runtime().script.startswith("/*!")
    for name in package.names():
        shutil.copy(package.path(name), tmp_path / name)
    monkeypatch.setattr(package, "_FOLDER", tmp_path)
    (tmp_path / "ort.wasm.bundle.min.mjs").write_text("alert(1)", encoding="utf-8")
    with pytest.raises(ExportError, match=r"min\.mjs is not as it was published"):
        read_runtime()
    (tmp_path / "ort.wasm.bundle.min.mjs").unlink()
    with pytest.raises(ExportError, match=r"min\.mjs can't be read"):
        read_runtime()


@pytest.fixture(scope="module")
def worker(browser: Any) -> Iterator[Any]:
    """An empty page in which the worker's functions can be called."""
    page = browser.new_page()
    page.add_script_tag(
        content=resources.files("eyebright.exporting").joinpath("web_worker.js").read_text(encoding="utf-8")
    )
    yield page
    page.close()


@pytest.mark.browser
def test_javascript_resizes_and_crops_bit_for_bit_as_python(worker: Any) -> None:
    sizes = ((8, 8), (32, 32), (33, 57), (101, 64), (7, 90), (1, 1), (300, 45), (32, 70), (70, 32), (64, 96), (64, 97))
    filters: tuple[Interpolation, ...] = ("bilinear", "bicubic")
    fits: tuple[Fit, ...] = ("crop", "squash")
    ways = tuple(product(filters, fits, ((0.5,), (0.4, 0.5, 0.6))))
    asked: list[tuple[int, int, dict[str, Any]]] = []
    wanted = []
    for (width, height), (interpolation, fit, mean) in product(sizes, ways):
        preprocessing = Preprocessing(
            image_size=27, resize=32, fit=fit, interpolation=interpolation, mean=mean, std=mean
        )
        square = preprocessing.square(draw_pattern(width, height))[None]
        wanted.append(zlib.adler32(np.ascontiguousarray(np.moveaxis(preprocessing.crop(square), 3, 1)).tobytes()))
        asked.append((width, height, preprocessing.to_dict()))
    found = worker.evaluate(
        """([asked, tallFirst]) => asked.map(([w, h, preprocessing]) => {
            about = { preprocessing, tallFirst };
            return adler32(prepare(drawPattern(w, h)));
        })""",
        [asked, resizes_tall_first()],
    )
    assert found == wanted
    assert len(set(found)) > len(sizes) * 4  # the ways do differ


@pytest.mark.browser
def test_javascript_judges_as_python(worker: Any) -> None:
    calibration, logits = calibrated()
    embeddings = np.concatenate([logits[:30] * 0.2 + 2, logits[30:]]).astype(np.float32)
    probabilities = softmax(logits, calibration.temperature)
    judged = calibration.judge(probabilities, calibration.measure_novelty(embeddings))
    about = {
        "thresholds": None,
        "temperature": calibration.temperature,
        "promise": web._promise(calibration),
    }
    assert calibration.references is not None
    found = worker.evaluate(
        """([given, packed, rows]) => {
            about = given;
            references = widenFloats(decodeBase64(packed));
            return rows.map(([logits, embedding]) => judge({ logits, embedding }));
        }""",
        [
            about,
            web._base64(calibration.references.astype("<f2").tobytes()),
            [[row.tolist(), embedding.tolist()] for row, embedding in zip(logits, embeddings, strict=True)],
        ],
    )
    kinds = set()
    for row, answer in enumerate(found):
        assert np.allclose(answer["probabilities"], probabilities[row], atol=1e-7)
        assert answer["labels"] == [int(probabilities[row].argmax())]
        assert sorted(answer["set"]) == np.flatnonzero(judged.sets[row]).tolist()
        assert answer["unsure"] == REASONS[judged.reasons[row]]
        kinds.add((answer["unsure"], len(answer["set"]) > 1))
    assert {reason for reason, _ in kinds} == set(REASONS)
    assert {many for _, many in kinds} == {False, True}


@pytest.mark.browser
def test_javascript_gives_several_labels_from_their_thresholds_on(worker: Any) -> None:
    found = worker.evaluate(
        """() => {
            about = { thresholds: [0.5, 0.9, 0.25], promise: null };
            references = undefined;
            return [[0, 2, -1], [-3, -3, -3]].map((logits) => judge({ logits }));
        }"""
    )
    assert [answer["labels"] for answer in found] == [[0, 2], []]
    assert found[0]["probabilities"] == pytest.approx([0.5, 0.880797, 0.268941], abs=1e-6)


def test_sets_of_another_kind_are_not_promised() -> None:
    calibration, _ = calibrated()
    with pytest.raises(AssertionError):
        web._promise(replace(calibration, promises=Promises(sets="raps")))

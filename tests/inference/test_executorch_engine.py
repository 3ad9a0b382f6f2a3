from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from eyebright.bundle.manifest import WEIGHTS, Manifest
from eyebright.errors import BundleError, ModelError
from eyebright.exporting.executorch_program import MOST_IMAGES, build_program
from eyebright.inference.executorch_engine import ABOUT, ExecutorchEngine
from eyebright.inference.torch_engine import TorchEngine
from eyebright.preprocess import Preprocessing

if find_spec("executorch") is None:
    pytest.skip("needs executorch: pip install 'eyebright[executorch]'", allow_module_level=True)


@pytest.fixture(scope="module")
def tiny_program(tiny_model: torch.nn.Module, tiny_manifest: Manifest) -> bytes:
    return build_program(
        tiny_model,
        tiny_manifest.preprocessing,
        tiny_manifest.class_names,
        weights_sha256=tiny_manifest.files[WEIGHTS],
    )


def test_it_answers_as_torch_does_for_any_number_of_images(
    tiny_model: torch.nn.Module, tiny_program: bytes, tiny_manifest: Manifest
) -> None:
    engine, exact = ExecutorchEngine(tiny_program, tiny_manifest), TorchEngine(tiny_model, tiny_manifest.preprocessing)
    kept = []
    for count in (1, 5, MOST_IMAGES, 2 * MOST_IMAGES + 3):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)
        logits, embedding = engine.run_and_embed(pixels)
        wanted, embedded = exact.run_and_embed(pixels)
        kept.append((logits, logits.copy()))
        np.testing.assert_allclose(logits, wanted, atol=1e-5 * np.abs(wanted).max())
        np.testing.assert_allclose(embedding, embedded, atol=1e-5 * np.abs(embedded).max())
        np.testing.assert_array_equal(engine.run(np.asfortranarray(pixels)), logits)
    for logits, copied in kept:
        np.testing.assert_array_equal(logits, copied)


def test_the_program_says_itself_what_it_is(tiny_program: bytes, tiny_manifest: Manifest) -> None:
    from executorch.runtime import Runtime

    about = json.loads(Runtime.get().load_program(tiny_program).load_method(ABOUT).execute([])[0])
    assert about["classes"] == list(tiny_manifest.class_names)
    assert Preprocessing.from_dict(about["preprocessing"]) == tiny_manifest.preprocessing
    assert about["thresholds"] is None


def test_an_operation_that_it_does_not_know_is_told(tiny_manifest: Manifest) -> None:
    class Odd(torch.nn.Module):
        num_classes, in_channels, embedding_width, stages = 3, 3, 3, ()

        def __init__(self) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(3, 3)

        @property
        def head(self) -> torch.nn.Linear:
            return self.fc

        def stage_of(self, parameter: str) -> int:
            return 0

        def forward_features(self, x: torch.Tensor, last: str | None = None) -> dict[str, torch.Tensor]:
            return {}

        def embed(self, x: torch.Tensor) -> torch.Tensor:
            values: torch.Tensor = torch.linalg.svdvals(x.mean(dim=1))
            return values[:, :3]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.fc(self.embed(x))
            return logits

    with pytest.raises(ModelError, match="can't be written for ExecuTorch"):
        build_program(Odd(), tiny_manifest.preprocessing, tiny_manifest.class_names, weights_sha256="")


def test_what_is_damaged_or_of_another_network_is_refused(
    tiny_program: bytes, tiny_manifest: Manifest, capfd: pytest.CaptureFixture[str]
) -> None:
    for broken in (b"", b"no program", tiny_program[: len(tiny_program) // 2], tiny_program[100:]):
        with pytest.raises(BundleError, match=r"x\.pte can't be run by ExecuTorch \(.*\); export again"):
            ExecutorchEngine(broken, tiny_manifest, shown="x.pte")
    with pytest.raises(BundleError, match="other weights"):
        ExecutorchEngine(tiny_program, replace(tiny_manifest, files={WEIGHTS: "0" * 64}), shown="x.pte")
    with pytest.raises(BundleError, match="not a program that Eyebright exported from this classifier"):
        ExecutorchEngine(tiny_program, replace(tiny_manifest, class_names=("a", "b")), shown="x.pte")
    assert capfd.readouterr().err == ""

"""What all tests share: no leftovers from the user's own settings, one thread for torch, a real browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")

# Before torch is imported anywhere: small networks are faster with one thread, and the machine may be busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests see no GPU: many are about the CPU, and hold what a GPU does not, bit for bit. `tests/gpu` is about it, with one
# that is pretended, or a real one: TESTS_SEE_GPU=1 python -m pytest -n 0 -m gpu
if not os.environ.get("TESTS_SEE_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
# Nothing that a developer has set at home may change what the tests see.
for name in [name for name in os.environ if name.startswith("EYEBRIGHT_")]:
    del os.environ[name]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads of a test never land among the user's."""
    monkeypatch.setenv("EYEBRIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window; a test that needs it is skipped, saying so, where it is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def bright_and_dark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of small photos, 12 of each."""
    import numpy as np  # here, where the number of threads is set
    from PIL import Image

    root = tmp_path_factory.mktemp("photos") / "light"
    for label, name in enumerate(("bright", "dark")):
        (root / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.random.default_rng([label, number]).integers(0, 100, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels + np.uint8(120 * (1 - label))).save(root / name / f"{number:02}.png")
    return root

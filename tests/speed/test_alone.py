from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from eyebright.errors import BundleError
from eyebright.speed.alone import run_alone


def test_a_process_of_its_own_answers_and_tells_its_memory(bundle: Path, pictures: Path) -> None:
    found = run_alone(bundle, "torch", pictures)
    assert 0.05 < found.first_seconds < 120
    if sys.platform == "linux":
        assert found.peak_bytes is not None
        assert 50e6 < found.peak_bytes < 3e9


def test_what_fails_there_is_said_here(bundle: Path, pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "broken")
    (tmp_path / "broken" / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"torch failed in a process of its own \(.*weights.safetensors"):
        run_alone(tmp_path / "broken", "torch", pictures)

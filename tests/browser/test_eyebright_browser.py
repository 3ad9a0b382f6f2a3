"""The package that brings ONNX Runtime Web: whole, small, and fit to stand inside a page."""

from __future__ import annotations

import gzip
import hashlib

import pytest

import eyebright_browser


def test_each_file_is_the_one_that_was_published_and_an_unknown_one_is_refused_by_name() -> None:
    for name in eyebright_browser.names():
        assert hashlib.sha256(eyebright_browser.path(name).read_bytes()).hexdigest() == eyebright_browser.sha256(name)
    with pytest.raises(KeyError, match=r"setup.exe.*LICENSE.txt"):
        eyebright_browser.path("setup.exe")


def test_it_has_less_than_four_million_bytes() -> None:
    assert sum(eyebright_browser.path(name).stat().st_size for name in eyebright_browser.names()) < 4_000_000


def test_the_script_can_stand_inside_an_element_and_names_its_version_and_licence() -> None:
    script = eyebright_browser.path("ort.wasm.bundle.min.mjs").read_text(encoding="utf-8")
    assert "</script" not in script.lower()
    assert "<!--" not in script
    assert f"ONNX Runtime Web v{eyebright_browser.VERSION}" in script
    assert "Licensed under the MIT License" in script


def test_what_is_packed_is_a_program_and_the_notices() -> None:
    program = gzip.decompress(eyebright_browser.path("ort-wasm-simd-threaded.wasm.gz").read_bytes())
    assert program.startswith(b"\0asm")
    notices = gzip.decompress(eyebright_browser.path("third-party-notices.txt.gz").read_bytes()).decode()
    assert "Eigen" in notices
    assert "protobuf" in notices
    assert "Permission is hereby granted" in eyebright_browser.path("LICENSE.txt").read_text(encoding="utf-8")

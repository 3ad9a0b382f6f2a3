from __future__ import annotations

import pytest

from eyebright import processor


@pytest.mark.parametrize(
    ("machine", "flags", "bfloat16", "int8"),
    [
        ("x86_64", {"avx2"}, False, False),
        ("x86_64", {"avx2", "avx512_vnni"}, False, True),
        ("AMD64", {"avx_vnni"}, False, True),
        ("AMD64", set(), False, False),
        ("x86_64", {"amx_bf16", "amx_int8"}, True, True),
        ("arm64", set(), False, True),
    ],
)
def test_what_a_processor_can_do_is_read_off_its_flags(
    monkeypatch: pytest.MonkeyPatch, machine: str, flags: set[str], bfloat16: bool, int8: bool
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(processor, "list_flags", lambda: frozenset(flags))
    assert (processor.has_bfloat16(), processor.has_exact_int8()) == (bfloat16, int8)


def test_flags_are_words_where_the_system_tells() -> None:
    assert all(flag and " " not in flag for flag in processor.list_flags())

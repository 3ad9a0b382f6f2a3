"""What this machine's processor can do, where the system tells. No torch here."""

from __future__ import annotations

import platform


def list_flags() -> frozenset[str]:
    """What the processor says it can do; empty where the system does not tell."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("flags"):
                    return frozenset(line.split(":", 1)[1].split())
    except OSError:
        pass
    return frozenset()


def has_bfloat16() -> bool:
    """Whether it multiplies bfloat16 in hardware; elsewhere that would be emulated, and slower than float32."""
    return bool(list_flags() & {"avx512_bf16", "amx_bf16"})


def has_exact_int8() -> bool:
    """Whether sums of uint8 times int8 are exact and fast.

    x86 without VNNI adds pairs of products in 16 bits, which overflow: an int8 network verified elsewhere would answer
    differently there.
    """
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return True
    return bool(list_flags() & {"avx512_vnni", "avx_vnni", "amx_int8"})

"""How long OpenMP's threads wait for each other before they sleep. As for memory, the command line may decide that.

torch shares every operation among threads that wait for the slowest. GNU's OpenMP has them spin for some 300,000 rounds
first: where another program keeps one core busy, the thread that waits takes the core from the one that it waits for,
and a small network trains many times slower. A thirtieth of that costs such a network up to a tenth of its speed on an
idle machine, and large ones nothing (docs/log.md).
"""

from __future__ import annotations

import os

ROUNDS = 10_000
_ROUNDS_VARIABLE = "GOMP_SPINCOUNT"
_POLICY_VARIABLE = "OMP_WAIT_POLICY"


def wait_briefly() -> bool:
    """Let threads sleep soon. GNU's OpenMP reads that while it is loaded, so before torch is imported.

    Nothing is changed where the environment already says how to wait; other OpenMPs do not read it.

    Returns:
        Whether it was arranged.
    """
    if _ROUNDS_VARIABLE in os.environ or _POLICY_VARIABLE in os.environ:
        return False
    os.environ[_ROUNDS_VARIABLE] = str(ROUNDS)
    return True

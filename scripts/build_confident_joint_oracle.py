"""Writes tests/checking/confident_joint.json: what cleanlab says about drawn probabilities.

cleanlab (AGPL-3.0) is no dependency, not even of the tests: this was run once, in an environment of its own.

    python -m venv oracle && oracle/bin/pip install cleanlab==2.9.0
    oracle/bin/python scripts/build_confident_joint_oracle.py
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from cleanlab.count import compute_confident_joint  # type: ignore[import-not-found]
from cleanlab.filter import find_label_issues  # type: ignore[import-not-found]

TARGET = Path(__file__).resolve().parents[1] / "tests" / "checking" / "confident_joint.json"


def draw(seed: int, count: int, num_classes: int) -> tuple[list[list[float]], list[int]]:
    """Probabilities of a fair classifier, rounded so that JSON keeps them exactly, and labels, some of them wrong."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, num_classes, count)
    logits = rng.normal(size=(count, num_classes))
    logits[np.arange(count), true] += 2.5
    shares = np.exp(logits)
    rounded = (shares / shares.sum(axis=1, keepdims=True)).round(5)
    given = np.where(rng.random(count) < 0.1, rng.integers(0, num_classes, count), true)
    return rounded.tolist(), given.tolist()


def main() -> None:
    cases: list[dict[str, Any]] = []
    for seed, (count, num_classes) in enumerate([(120, 2), (150, 4), (150, 7)]):
        probabilities, labels = draw(seed, count, num_classes)
        p, y = np.array(probabilities), np.array(labels)
        issues = find_label_issues(
            y, p, filter_by="low_self_confidence", return_indices_ranked_by="self_confidence", n_jobs=1
        )
        cases.append(
            {
                "probabilities": probabilities,
                "labels": labels,
                "confident_joint": compute_confident_joint(y, p, calibrate=False).tolist(),
                "issues": issues.tolist(),
            }
        )
    TARGET.write_text(json.dumps({"cleanlab": metadata.version("cleanlab"), "cases": cases}) + "\n")


if __name__ == "__main__":
    main()

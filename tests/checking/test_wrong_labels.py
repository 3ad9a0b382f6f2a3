"""Confident learning counts as the paper says and as cleanlab does, and finds labels that were made wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.checking.wrong_labels import (
    count_confident_joint,
    deal_folds,
    find_wrong_labels,
    judge,
    predict_out_of_fold,
    suspects,
)
from eyebright.data.samples import SampleTable
from eyebright.data.sources import read_samples
from eyebright.errors import ImageError

CASES = json.loads(Path(__file__).with_name("confident_joint.json").read_text())["cases"]
TRASHNET = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "trashnet"


def draw_embeddings(seed: int, per_class: int = 60, num_classes: int = 3) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(N, 8) embeddings in one cloud for each class, and their true labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), per_class).astype(np.int64)
    centres = rng.normal(size=(num_classes, 8)) * 3
    return (centres[labels] + rng.normal(size=(len(labels), 8))).astype(np.float32), labels


def flip(labels: NDArray[np.int64], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels of which a share is wrong, and which ones."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(labels), round(share * len(labels)), replace=False)
    num_classes = int(labels.max()) + 1
    wrong = labels.copy()
    wrong[rows] = (labels[rows] + rng.integers(1, num_classes, len(rows))) % num_classes
    return wrong, rows


@pytest.mark.parametrize("case", CASES, ids=["2 classes", "4 classes", "7 classes"])
def test_the_confident_joint_is_cleanlabs(case: dict[str, Any]) -> None:
    probabilities, labels = np.array(case["probabilities"]), np.array(case["labels"])
    counts = count_confident_joint(probabilities, labels).counts
    assert counts.tolist() == case["confident_joint"]
    assert counts.sum() > np.trace(counts) > 0


@pytest.mark.parametrize("case", CASES, ids=["2 classes", "4 classes", "7 classes"])
def test_the_suspects_are_cleanlabs_least_believed_labels(case: dict[str, Any]) -> None:
    found = suspects(np.array(case["probabilities"]), np.array(case["labels"])).tolist()
    # cleanlab takes as many, but leaves out of its count those where no other class is likelier than the label.
    assert found[: len(case["issues"])] == case["issues"]


def test_a_class_counts_once_its_own_mean_is_reached() -> None:
    # By hand: the thresholds are 0.7 and 0.6; the second sample reaches only the other class's.
    probabilities = np.array([[0.9, 0.1], [0.5, 0.6], [0.4, 0.6], [0.7, 0.6]])
    joint = count_confident_joint(probabilities, np.array([0, 0, 1, 0]))
    assert joint.thresholds.tolist() == pytest.approx([0.7, 0.6])
    assert joint.likely.tolist() == [0, 1, 1, 0]
    assert joint.counts.tolist() == [[2, 1], [0, 1]]


def test_a_class_that_nobody_has_is_never_suspected() -> None:
    probabilities = np.array([[0.5, 0.1, 0.4], [0.2, 0.5, 0.3], [0.1, 0.0, 0.9]])
    joint = count_confident_joint(probabilities, np.array([0, 1, 0]))
    assert np.isnan(joint.thresholds[2])
    assert joint.likely.tolist() == [0, 1, -1]


def test_folds_hold_every_class_evenly_and_cut_no_group() -> None:
    labels = np.repeat([0, 1, 2], [50, 20, 7]).astype(np.int64)
    groups = np.arange(77) // 2
    folds = deal_folds(labels, groups, count=5, seed=3)
    assert all(len(set(folds[groups == group])) == 1 for group in groups)
    for label in range(3):
        counts = np.bincount(folds[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 2
    assert (folds == deal_folds(labels, groups, count=5, seed=3)).all()
    assert (folds != deal_folds(labels, groups, count=5, seed=4)).any()


def test_no_sample_is_judged_by_a_head_that_has_seen_it() -> None:
    # Labels drawn at random can't be told from the embeddings: only who has seen them knows them.
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(120, 40)).astype(np.float32)
    labels = rng.integers(0, 2, 120)
    everyone = np.ones(120, dtype=np.bool_)
    judged = predict_out_of_fold(embeddings, labels, deal_folds(labels, None, count=5, seed=0), 2, everyone)
    assert 0.3 < (judged.argmax(axis=1) == labels).mean() < 0.7
    assert judged.sum(axis=1) == pytest.approx(np.ones(120))


def test_copies_of_a_wrong_label_do_not_vouch_for_each_other() -> None:
    embeddings, labels = draw_embeddings(1)
    wrong = labels.copy()
    copies = np.arange(10)
    embeddings[copies], wrong[copies] = embeddings[0] + 6, 1  # far out, so that one copy would give the others away
    labels_differ = np.arange(len(labels))
    labels_differ[copies] = 0
    alone = judge(embeddings, wrong, deal_folds(wrong, None, count=5, seed=0), 3)
    together = judge(embeddings, wrong, deal_folds(wrong, labels_differ, count=5, seed=0), 3)
    assert together[copies, 1].mean() < alone[copies, 1].mean() - 0.2


def test_flipped_labels_are_found_and_few_others() -> None:
    embeddings, labels = draw_embeddings(0)
    wrong, rows = flip(labels, 0.08, seed=0)
    probabilities = judge(embeddings, wrong, deal_folds(wrong, None, count=5, seed=0), 3)
    found = suspects(probabilities, wrong)
    assert np.isin(rows, found).mean() >= 0.8
    assert np.isin(found, rows).mean() >= 0.7


def test_what_is_too_small_to_judge_is_said(tmp_path: Path) -> None:
    table = SampleTable(
        store=Nowhere(),
        names=("a/1", "a/2", "b/1"),
        labels=np.array([0, 0, 1], dtype=np.int64),
        classes=("a", "b"),
        splits=np.full(3, -1, dtype=np.int8),
    )
    found, notes = find_wrong_labels(table)
    assert found == []
    assert notes == [
        "wrong labels were not looked for among classes of fewer than 5 images: a, b",
        "wrong labels were not looked for: that takes two classes of at least 5 images",
    ]


class Nowhere:
    def read(self, name: str) -> bytes:
        raise ImageError(name, "not there")

    def locate(self, name: str) -> str:
        return name


@pytest.mark.slow
def test_on_real_photos_most_of_five_percent_of_flipped_labels_are_found() -> None:
    if not TRASHNET.is_dir():
        pytest.skip("needs ../shared/data/trashnet")
    pytest.importorskip("eyebright_weights")
    table = read_samples(TRASHNET)
    wrong, rows = flip(table.labels, 0.05, seed=1)
    truth = {table.names[row]: table.classes[table.labels[row]] for row in rows}
    spoilt = SampleTable(store=table.store, names=table.names, labels=wrong, classes=table.classes, splits=table.splits)
    found, notes = find_wrong_labels(spoilt)
    assert notes == []
    hits = [finding for finding in found if finding.samples[0] in truth]
    assert len(hits) / len(truth) >= 0.8  # what was aimed at; 0.911 ± 0.023 over 8 seeds
    assert len(hits) / len(found) >= 0.5  # 0.581 ± 0.020
    right = [finding.proposal[0].label == truth[finding.samples[0]] for finding in hits]
    assert np.mean(right) >= 0.8
    assert found[0].score == max(finding.score for finding in found)

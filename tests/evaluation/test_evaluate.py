"""Evaluation counts every image, by class name, and never forgives one that can't be read."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from eyebright.errors import DataError, ImageError
from eyebright.evaluation.evaluate import MISTAKES_KEPT, evaluate
from eyebright.evaluation.report import Unreadable

oracle = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn as the oracle")


def test_confidences_are_kept_and_never_rounded_up_to_certainty(drawn: SimpleNamespace) -> None:
    p = np.array([[0.99999, 0.00001], [1.0, 0.0], [np.nan, np.nan], [0.512345, 0.487655]], dtype=np.float32)
    errors = {2: ImageError("2.png", "odd")}
    table = drawn.build_table(("a", "b"), np.array([0, 0, 1, 1]))
    report = evaluate(drawn.DrawnPredictor(("a", "b"), drawn.DrawnPredictions(p, errors)), table)
    assert report.confidences == "0.9999 1 - 0.5123"


def test_numbers_equal_scikit_learns_on_the_same_answers(drawn: SimpleNamespace) -> None:
    labels = np.random.default_rng(0).integers(0, 7, 211)
    classes = tuple("abcdefg")
    said = drawn.draw_predictions(labels, 7, skill=2.5, seed=1)
    report = evaluate(drawn.DrawnPredictor(classes, said), drawn.build_table(classes, labels))
    answers = said.probabilities.argmax(axis=1)
    assert report.accuracy == pytest.approx(oracle.accuracy_score(labels, answers))
    assert report.macro_f1 == pytest.approx(oracle.f1_score(labels, answers, average="macro"))
    assert report.top5_accuracy == pytest.approx(oracle.top_k_accuracy_score(labels, said.probabilities, k=5))
    assert report.log_loss == pytest.approx(oracle.log_loss(labels, said.probabilities), rel=1e-5)
    assert np.array_equal(report.confusion, oracle.confusion_matrix(labels, answers))
    assert report.accuracy_low < report.accuracy < report.accuracy_high
    assert report.correctness == "".join("1" if hit else "0" for hit in answers == labels)


def test_labels_are_matched_by_name_and_not_by_order(drawn: SimpleNamespace) -> None:
    labels = np.array([0, 0, 1, 2])
    table = drawn.build_table(("cat", "dog", "fox"), labels)
    p = np.zeros((4, 4), dtype=np.float32)
    for row, column in enumerate((3, 3, 1, 0)):  # the model's order: fox, dog, owl, cat
        p[row, column] = 1
    report = evaluate(drawn.DrawnPredictor(("fox", "dog", "owl", "cat"), drawn.DrawnPredictions(p)), table)
    assert report.num_correct == 4
    assert [result.support for result in report.per_class] == [1, 1, 0, 2]
    assert report.macro_f1 == 1  # the owl, of which there is none, does not count
    assert report.top5_accuracy is None


def test_an_unreadable_image_is_an_error_in_accuracy_and_recall_and_in_no_column(drawn: SimpleNamespace) -> None:
    labels = np.array([0, 0, 1, 1])
    p = np.array([[1, 0], [np.nan, np.nan], [0, 1], [0, 1]], dtype=np.float32)
    said = drawn.DrawnPredictions(p, {1: ImageError("x.png", "empty file")})
    report = evaluate(drawn.DrawnPredictor(("a", "b"), said), drawn.build_table(("a", "b"), labels))
    assert report.accuracy == 0.75
    assert report.correctness == "1011"
    assert report.confusion == ((1, 0), (0, 2))
    assert report.unreadable_per_class == (1, 0)
    assert (report.per_class[0].recall, report.per_class[0].precision, report.per_class[0].support) == (0.5, 1, 2)
    assert report.unreadable == (Unreadable(name="photos.zip/a/0001.png", reason="empty file"),)
    assert report.mistakes == ()
    assert report.log_loss == pytest.approx(0, abs=1e-6)


def test_a_table_of_unreadable_images_gives_zero_and_no_crash(drawn: SimpleNamespace) -> None:
    p = np.full((2, 2), np.nan, dtype=np.float32)
    said = drawn.DrawnPredictions(p, {i: ImageError("x", "empty file") for i in range(2)})
    report = evaluate(drawn.DrawnPredictor(("a", "b"), said), drawn.build_table(("a", "b"), np.array([0, 1])))
    assert (report.accuracy, report.macro_f1, report.log_loss, report.calibration_error) == (0, 0, None, None)
    assert str(report).startswith("0 of 2 images right")


def test_the_surest_mistakes_come_first_and_are_few(drawn: SimpleNamespace) -> None:
    labels = np.zeros(60, dtype=np.int64)
    confidence = np.random.default_rng(3).uniform(0.51, 0.99, 60).astype(np.float32)
    p = np.stack([1 - confidence, confidence], axis=1)
    p[::2] = p[::2, ::-1]  # every second one is right
    report = evaluate(
        drawn.DrawnPredictor(("a", "b"), drawn.DrawnPredictions(p)), drawn.build_table(("a", "b"), labels)
    )
    assert len(report.mistakes) == MISTAKES_KEPT
    assert [m.confidence for m in report.mistakes] == sorted(confidence[1::2].tolist(), reverse=True)[:MISTAKES_KEPT]
    first = report.mistakes[0]
    assert (first.label, first.predicted) == ("a", "b")
    assert first.place == f"photos.zip/{first.name}"


def test_an_empty_table_and_an_unknown_class_are_refused(drawn: SimpleNamespace) -> None:
    predictor = drawn.DrawnPredictor(("a", "b"), drawn.DrawnPredictions(np.zeros((0, 2), dtype=np.float32)))
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluate(predictor, drawn.build_table(("a", "b"), np.zeros(0, dtype=np.int64)))
    with pytest.raises(DataError, match="not among the ones the model knows: zebra"):
        evaluate(predictor, drawn.build_table(("a", "zebra"), np.array([0, 1])))


def test_logits_in_place_of_probabilities_are_refused(drawn: SimpleNamespace) -> None:
    said = drawn.DrawnPredictions(np.array([[3.0, -1.0]], dtype=np.float32))
    with pytest.raises(DataError, match="softmax"):
        evaluate(drawn.DrawnPredictor(("a", "b"), said), drawn.build_table(("a", "b"), np.array([0])))

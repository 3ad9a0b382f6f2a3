"""The trainings of a comparison -> its contestants: one for each network, with mean and spread of several trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from eyebright.errors import EyebrightError
from eyebright.evaluation.compare import Contestant
from eyebright.evaluation.evaluate import SamplePredictor
from eyebright.evaluation.label_sets_compare import AnyContestant
from eyebright.evaluation.repeats import Training, describe_training, repeat_folds, repeat_seeds
from eyebright.evaluation.report import EvaluationReport
from eyebright.inference.load import load
from eyebright.jobs.baseline import measure_baseline
from eyebright.jobs.folds import pool_folds
from eyebright.jobs.prepare import Prepared
from eyebright.jobs.trials import Plan
from eyebright.progress import Progress
from eyebright.training.settings import Settings


def gather_contestants(
    folder: Path,
    plan: Plan,
    parts: Sequence[Prepared],
    found: Mapping[str, AnyContestant],
    settings: Settings,
    progress: Progress,
) -> tuple[list[AnyContestant], int]:
    """One contestant for each network, of the trainings that are finished.

    Networks are compared on the same seeds: where a comparison was stopped, as many as all of them have. A network
    whose folds are not all there is left out.

    Args:
        folder: the comparison's.
        plan: of the comparison.
        parts: the data of each fold, or of all.
        found: what each training achieved, by its folder's name.
        settings: as they were given.
        progress: told how far it is.

    Returns:
        The contestants, in the plan's order, and how many seeds they have.

    Raises:
        KeyboardInterrupt: a stop was requested.
    """
    of_model = {
        model: [found[trial.name] for trial in plan.trials() if trial.model == model and trial.name in found]
        for model in plan.models
    }
    if plan.folds:
        whole = {model: trained for model, trained in of_model.items() if len(trained) == plan.folds}
        return [_pooled(folder, plan, parts, model, whole[model], settings, progress) for model in whole], 1
    rounds = min(map(len, of_model.values()))
    if rounds > 1:
        return [_repeated(trained[:rounds], plan.seeds[:rounds]) for trained in of_model.values()], rounds
    return [trained[0] for trained in of_model.values() if trained], 1


def list_baseline(parts: Sequence[Prepared], settings: Settings, progress: Progress) -> list[Contestant]:
    """The classifier without a network, measured as the networks are; nothing, and why, where it can't be fitted.

    The trained networks' report does not hang on it.

    Raises:
        KeyboardInterrupt: a stop was requested.
    """
    if parts[0].table.label_sets is not None:
        progress.say("No classifier without a network is compared: it is for images of one label each.")
        return []
    progress.say("Without a network, to compare with")
    try:
        found = [measure_baseline(part, settings, progress) for part in parts]
    except EyebrightError as error:
        progress.warn(f"nothing without a network is compared: {error}")
        return []
    contestants = [contestant for contestant, _ in found]
    if len(parts) == 1:
        return contestants
    predictors = [partial(_same, predictor) for _, predictor in found]
    pooled = pool_folds(parts, predictors, settings.data.slices, progress)
    return [_of_folds(contestants, pooled)]


def _repeated(trained: Sequence[AnyContestant], seeds: Sequence[int]) -> Contestant:
    several = [contestant for contestant in trained if isinstance(contestant, Contestant)]
    assert len(several) == len(seeds)
    trainings = [_training(seed, one, answers=True) for seed, one in zip(seeds, several, strict=True)]
    return replace(several[0], train_seconds=_mean_seconds(several), repeats=repeat_seeds(trainings))


def _pooled(
    folder: Path,
    plan: Plan,
    parts: Sequence[Prepared],
    model: str,
    trained: Sequence[AnyContestant],
    settings: Settings,
    progress: Progress,
) -> Contestant:
    predictors = [partial(load, folder / trial.name) for trial in plan.trials() if trial.model == model]
    pooled = pool_folds(parts, predictors, settings.data.slices, progress)
    return _of_folds([contestant for contestant in trained if isinstance(contestant, Contestant)], pooled)


def _of_folds(trained: Sequence[Contestant], pooled: EvaluationReport) -> Contestant:
    trainings = [_training(fold, one, answers=False) for fold, one in enumerate(trained, start=1)]
    return replace(
        trained[0], report=pooled, train_seconds=_mean_seconds(trained), repeats=repeat_folds(trainings, pooled)
    )


def _training(number: int, contestant: Contestant, *, answers: bool) -> Training:
    return describe_training(number, contestant.report, contestant.train_seconds, answers=answers)


def _mean_seconds(trained: Sequence[Contestant]) -> float:
    return float(np.mean([contestant.train_seconds for contestant in trained]))


def _same(predictor: SamplePredictor) -> SamplePredictor:
    return predictor

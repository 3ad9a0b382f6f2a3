"""Eyebright: from a folder of images to a classifier that its owner can trust.

    import eyebright as eb
    run = eb.train("photos/", model="resnet50")
    print(run.report)
    eb.load(run.folder).predict("cat.jpg")

Names are loaded when they are first used, so that importing the package is quick and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eyebright.data.sources import read_samples as read_samples
    from eyebright.errors import EyebrightError as EyebrightError
    from eyebright.evaluation.label_sets import LabelSetsReport as LabelSetsReport
    from eyebright.evaluation.report import EvaluationReport as EvaluationReport
    from eyebright.inference.load import load as load
    from eyebright.inference.predictor import Prediction as Prediction
    from eyebright.inference.predictor import Predictor as Predictor
    from eyebright.jobs.atlas import Atlas as Atlas
    from eyebright.jobs.atlas import atlas as atlas
    from eyebright.jobs.bench import bench as bench
    from eyebright.jobs.check import Check as Check
    from eyebright.jobs.check import check as check
    from eyebright.jobs.compare import ComparedRuns as ComparedRuns
    from eyebright.jobs.compare import compare as compare
    from eyebright.jobs.compare import resume_comparison as resume_comparison
    from eyebright.jobs.compare_runs import compare_runs as compare_runs
    from eyebright.jobs.demo import demo as demo
    from eyebright.jobs.draw import Drawing as Drawing
    from eyebright.jobs.draw import draw as draw
    from eyebright.jobs.evaluate import evaluate as evaluate
    from eyebright.jobs.explain import Explained as Explained
    from eyebright.jobs.explain import explain as explain
    from eyebright.jobs.export import Export as Export
    from eyebright.jobs.export import export as export
    from eyebright.jobs.features import LearnedFeatures as LearnedFeatures
    from eyebright.jobs.features import features as features
    from eyebright.jobs.list_runs import list_runs as list_runs
    from eyebright.jobs.models import list_models as list_models
    from eyebright.jobs.robustness import measure_robustness as measure_robustness
    from eyebright.jobs.train import Run as Run
    from eyebright.jobs.train import resume as resume
    from eyebright.jobs.train import train as train
    from eyebright.preprocess import Preprocessing as Preprocessing
    from eyebright.speed.report import SpeedReport as SpeedReport
    from eyebright.training.settings import Settings as Settings

__version__ = "0.1.0"

_HOMES = {
    "Atlas": "jobs.atlas",
    "Check": "jobs.check",
    "ComparedRuns": "jobs.compare",
    "Drawing": "jobs.draw",
    "EvaluationReport": "evaluation.report",
    "Explained": "jobs.explain",
    "Export": "jobs.export",
    "EyebrightError": "errors",
    "LabelSetsReport": "evaluation.label_sets",
    "LearnedFeatures": "jobs.features",
    "Prediction": "inference.predictor",
    "Predictor": "inference.predictor",
    "Preprocessing": "preprocess",
    "Run": "jobs.train",
    "Settings": "training.settings",
    "SpeedReport": "speed.report",
    "atlas": "jobs.atlas",
    "bench": "jobs.bench",
    "check": "jobs.check",
    "compare": "jobs.compare",
    "compare_runs": "jobs.compare_runs",
    "demo": "jobs.demo",
    "draw": "jobs.draw",
    "evaluate": "jobs.evaluate",
    "explain": "jobs.explain",
    "export": "jobs.export",
    "features": "jobs.features",
    "list_models": "jobs.models",
    "list_runs": "jobs.list_runs",
    "load": "inference.load",
    "measure_robustness": "jobs.robustness",
    "read_samples": "data.sources",
    "resume": "jobs.train",
    "resume_comparison": "jobs.compare",
    "train": "jobs.train",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from eyebright.errors import MissingExtraError

        raise MissingExtraError(f"eyebright.{name}", "train") from error


def __dir__() -> list[str]:
    return __all__

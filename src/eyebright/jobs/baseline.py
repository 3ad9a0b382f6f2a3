"""What a classifier without a network achieves on the same split: the answer to "why deep learning?".

It is measured like the networks and stands in the report beside them, but no bundle holds it and nothing can load it:
it is there to be compared with.
"""

from __future__ import annotations

from eyebright.bundle.manifest import Architecture, Manifest
from eyebright.evaluation.compare import Contestant
from eyebright.evaluation.evaluate import evaluate
from eyebright.evaluation.facts import BASELINE, CurvePoint
from eyebright.inference.descriptor_engine import DescriptorEngine
from eyebright.inference.predictor import Predictor
from eyebright.jobs.prepare import Prepared
from eyebright.progress import Progress
from eyebright.speed.costs import measure_latency
from eyebright.training.baseline import fit_baseline
from eyebright.training.settings import Settings

SENTENCE = (
    "No network: outlines (histograms of oriented gradients, HOG) and histograms of colours, as they were described "
    "before networks were, into a regularised linear model. What a network is better by is what deep learning adds on "
    "these images."
)


def measure_baseline(prepared: Prepared, settings: Settings, progress: Progress) -> tuple[Contestant, Predictor]:
    """Fit it on the training samples of a split, and let it answer for the test samples.

    Args:
        prepared: the data with their splits, one class an image.
        settings: as the networks were given them; the seed counts, and how images are read.
        progress: told how far it is.

    Returns:
        What it achieved, and itself.

    Raises:
        EyebrightError: see `fit_baseline`.
        KeyboardInterrupt: a stop was requested.
    """
    table = prepared.table
    fitted = fit_baseline(table, settings, digests=prepared.digests, progress=progress)
    head = fitted.head
    manifest = Manifest(
        architecture=Architecture(model=BASELINE, num_classes=len(table.classes), in_channels=3),
        class_names=table.classes,
        preprocessing=fitted.preprocessing,
        provenance={},
        files={},
    )
    predictor = Predictor(DescriptorEngine(head.weight, head.bias), manifest, fitted.calibration)
    predictor.warm_up()
    report = evaluate(predictor, table.split("test"), slices=settings.data.slices, progress=progress)
    latency = measure_latency(predictor)
    available = len(table.rows("train"))
    learned = "" if fitted.num_train == available else f" It learned from {fitted.num_train:,} of {available:,} images."
    # Its memory is not told: the process still holds what the networks before it needed.
    contestant = Contestant(
        model=BASELINE,
        title="Without a network",
        sentence=SENTENCE + learned,
        curve=tuple(
            CurvePoint(x=t.strength, train_loss=t.train_loss, val_loss=t.val_loss, val_accuracy=t.val_accuracy)
            for t in head.tried
        ),
        curve_kind="regularisation",
        parameters=head.weight.size + head.bias.size,
        multiply_adds=head.weight.size,
        size_bytes=head.weight.nbytes + head.bias.nbytes,
        train_seconds=fitted.seconds,
        image_size=fitted.preprocessing.image_size,
        weights="outlines and colours, a linear model",
        effort="",
        report=report,
        latency_ms=latency.median,
        slow_latency_ms=latency.slow,
        latency_count=latency.count,
    )
    return contestant, predictor

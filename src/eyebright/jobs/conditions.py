"""What decides how a run ends beside its settings and images: what rounds its sums, and the classifiers it is given.

A run notes them when it begins. Whoever goes on with it under others is told, or is stopped where the result would be
that of another experiment.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from eyebright.bundle.manifest import WEIGHTS, find_bundle
from eyebright.bundle.sealed import hash_file
from eyebright.distributed.ranks import Ranks
from eyebright.errors import BundleError, CheckpointError, printable
from eyebright.jobs.provenance import describe_processor, list_versions
from eyebright.progress import Progress
from eyebright.training.settings import Settings
from eyebright.training.start import find_device

ROLES = {"weights": "it starts from", "teacher": "it learns from"}


def note_conditions(settings: Settings, ranks: Ranks) -> dict[str, str]:
    """Each by name, in words; for a classifier given as a path the sha256 of its weights.

    Args:
        settings: as given; relative paths begin here.
        ranks: the processes that train together.
    """
    versions = {name: version for name, version in list_versions().items() if name != "python"}
    device = find_device(settings, ranks)
    kind = torch.cuda.get_device_name(device) if device.startswith("cuda") else device.split(":")[0]
    found = {"processor": describe_processor(), "device": kind}
    found["threads"] = f"{torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)} a process"
    if not ranks.adds_in_pairs:
        found["processes"] = f"{ranks.size} processes"
    found |= {name: f"{name} {version}" for name, version in versions.items()}
    for role, path in _list_given(settings).items():
        if (file := _find_weights(path)) is not None:
            found[role] = hash_file(file)
    return found


def compare_conditions(before: Mapping[str, str], settings: Settings, ranks: Ranks, progress: Progress) -> None:
    """Tell what is otherwise than when a run began.

    Args:
        before: what was noted then; empty for a run of an earlier version.
        settings: of the run, its relative paths resolved.
        ranks: the processes that train together now.
        progress: told what only rounds otherwise.

    Raises:
        CheckpointError: a classifier that it starts or learns from is another one now, or what it starts from is gone.
    """
    if not before:
        return
    now = note_conditions(settings, ranks)
    for role, path in _list_given(settings).items():
        # A teacher that is gone is missed where it is asked, which a run that only has to be measured never does.
        if role == "weights" and role in before and role not in now:
            raise CheckpointError(f"{printable(path)}, which {ROLES[role]}, is gone; put it back, or start a new run")
        if role in before and role in now and before[role] != now[role]:
            raise CheckpointError(
                f"{printable(path)}, which {ROLES[role]}, is another classifier than when training began; put it back, "
                "or start a new run"
            )
    usual = {"processes": "as many processes as add up like one"}
    changed = [
        f"{before.get(name, usual.get(name, 'nothing'))}, now {now.get(name, usual.get(name, 'nothing'))}"
        for name in dict.fromkeys((*before, *now))
        if name not in ROLES and before.get(name) != now.get(name)
    ]
    if changed:
        progress.warn(
            f"begun with {'; '.join(changed)}: sums are rounded otherwise, so that the weights may differ a little "
            "from those of a run that was never stopped"
        )


def _list_given(settings: Settings) -> dict[str, str]:
    given = {"weights": settings.network.weights, "teacher": settings.training.teacher}
    return {role: path for role, path in given.items() if path}


def _find_weights(path: str) -> Path | None:
    """The file that holds the weights of a run, a saved classifier or a file; None if that is no path."""
    if Path(path).is_file():
        return Path(path)
    try:
        file = find_bundle(Path(path)) / WEIGHTS
    except BundleError:  # a name, such as "resnet50.tv_v2", or gone: whoever needs it says so
        return None
    return file if file.is_file() else None

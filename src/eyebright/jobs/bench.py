"""How fast a classifier is on this machine, with every engine that it has."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from eyebright.bundle.engines import LIBRARIES, TORCH, TORCH_CUDA, read_engines
from eyebright.bundle.manifest import Architecture, Manifest, find_bundle, read_manifest
from eyebright.data.decode import decode_anything
from eyebright.data.samples import ImageStore
from eyebright.data.sources import read_samples, read_unlabelled
from eyebright.errors import BundleError, DataError, ImageError, SettingsError, printable
from eyebright.inference.load import count_gpus, load
from eyebright.jobs.predict import find_images
from eyebright.jobs.provenance import describe_machine, list_versions, now
from eyebright.jobs.state import read_state
from eyebright.preprocess import IN_COLOUR
from eyebright.progress import Progress, SilentProgress
from eyebright.speed.alone import run_alone
from eyebright.speed.measure import EngineSpeed, measure_speed
from eyebright.speed.pictures import HEIGHT, WIDTH, encode_jpeg, generate_picture
from eyebright.speed.report import SpeedReport

IMAGES, ROUNDS, SINGLES = 64, 7, 16
QUICK_IMAGES, QUICK_ROUNDS, QUICK_SINGLES = 16, 3, 4
BUSY = 0.5
"""From which load, before anything is measured, figures are said to be no good."""


def bench(
    run: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]] = (),
    *,
    quick: bool = False,
    progress: Progress | None = None,
) -> SpeedReport:
    """Measure every engine that a classifier has: file to label, the network alone, one image, memory, first answer.

    The engines take turns on the same images, in an order of their own each round; medians with quartiles are
    reported. First answer and memory are measured once, each engine in a process of its own.

    Args:
        run: a run's folder or a bundle; engines other than torch must have been exported.
        images: files, folders, zips and patterns, of which 64 are taken evenly; by default of the run's own data, or,
            where these are gone, generated pictures of 800 x 600.
        quick: a few images and rounds: a first look.
        progress: told how far it is, and asked whether to stop.

    Raises:
        BundleError: the classifier is damaged or absent.
        MissingExtraError: it has no engine that could run here.
        DataError: none of the images can be read.
        KeyboardInterrupt: a stop was requested.
    """
    progress = progress or SilentProgress()
    bundle = find_bundle(Path(run))
    manifest = read_manifest(bundle)
    if manifest.preprocessing.channels not in IN_COLOUR:
        raise SettingsError(
            f"image files are timed from, and {run} takes arrays of {manifest.preprocessing.channels} channels"
        )
    engines, notes = _list_engines(bundle, manifest)
    if not engines:
        engines = [load(bundle).engine]  # says what to install
    rounds, singles = (QUICK_ROUNDS, QUICK_SINGLES) if quick else (ROUNDS, SINGLES)
    before = read_load()
    if before is not None and before > BUSY:
        notes.append(
            f"the machine was busy before anything was measured (load {before:.1f}); measure again when it is idle"
        )
    with tempfile.TemporaryDirectory(prefix="eyebright-bench-") as scratch:
        folder = Path(scratch)
        shown = _collect(Path(run), images, QUICK_IMAGES if quick else IMAGES, folder)
        store, names = read_unlabelled([folder])
        alone = {}
        progress.start("each engine in a process of its own", len(engines))
        for number, engine in enumerate(engines):
            if progress.stop_requested:
                raise KeyboardInterrupt
            try:
                alone[engine] = run_alone(bundle, engine, folder)
            except BundleError:
                if progress.stop_requested:  # Ctrl-C reaches that process, too
                    raise KeyboardInterrupt from None
                raise
            progress.advance(number + 1, engine)
        progress.finish()
        gigaflop = _count_gigaflop(manifest.architecture, manifest.preprocessing.image_size)
        measured = measure_speed(
            {engine: load(bundle, engine=engine) for engine in engines},
            store,
            names,
            rounds=rounds,
            singles=singles,
            progress=progress,
            gigaflop=gigaflop,
        )
    after = read_load()
    found: list[EngineSpeed] = [
        replace(one, first_seconds=alone[one.engine].first_seconds, peak_bytes=alone[one.engine].peak_bytes)
        for one in measured.engines
    ]
    return SpeedReport(
        run=str(run),
        model=manifest.architecture.model,
        image_size=manifest.preprocessing.image_size,
        gigaflop=gigaflop,
        images=shown,
        num_images=len(names),
        rounds=rounds,
        engines=tuple(found),
        peaks=measured.peaks,
        load=None if before is None or after is None else (before, after),
        machine=describe_machine(),
        versions=list_versions(),
        date=now(),
        notes=tuple(notes),
    )


def read_load() -> float | None:
    """How many processes wanted to run, on average over the last minute; None where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):  # Windows has none
        return None


def _list_engines(bundle: Path, manifest: Manifest) -> tuple[list[str], list[str]]:
    """The engines that can be run here, torch first; and what is said of the others."""
    verified = {found.engine for found in read_engines(bundle, manifest)}
    engines, notes, lacking = [], [], []
    for engine, library in LIBRARIES.items():
        if engine == TORCH_CUDA:
            if count_gpus():
                engines.append(engine)
        elif engine == TORCH or engine in verified:
            if find_spec(library) is None:
                notes.append(f"{engine} was left out: {library} is not installed")
            else:
                engines.append(engine)
        elif find_spec(library) is not None:
            lacking.append(f"{engine} (--to {engine.removesuffix('-bf16').replace('-int8', ' --int8')})")
    if lacking:
        notes.append(f"not exported yet, see eyebright export: {', '.join(lacking)}")
    return engines, notes


def _collect(run: Path, images: Sequence[str | os.PathLike[str]], count: int, folder: Path) -> str:
    """Copy so many images that can be read into a folder of their own; says which they are."""
    if images:
        store, names = find_images(images, b"")
        shown = "given"
    else:
        own = _find_own(run)
        if own is None:
            for number in range(count):
                (folder / f"{number:04}.jpg").write_bytes(encode_jpeg(generate_picture(number)))
            return f"generated, {WIDTH} x {HEIGHT}"
        store, names = own
        shown = "the run's own"
    kept = 0
    for name in _spread_out(names, count):
        kept += _copy(store, name, folder / f"{kept:04}")
    if not kept:
        raise DataError(f"none of {len(names):,} images can be read, {printable(names[0])} among them; give others")
    return shown


def _spread_out(names: Sequence[str], count: int) -> list[str]:
    """So many names at the most, spread evenly over all of them."""
    rows = np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int)
    return [names[row] for row in rows]


def _copy(store: ImageStore, name: str, path: Path) -> bool:
    """Write an image under a name with the suffix that it needs; False if it can't be read."""
    try:
        content = store.read(name)
        decoded = decode_anything(content, name)
    except ImageError:
        return False
    if isinstance(content, bytes):
        path.with_name(path.name + ".jpg").write_bytes(content)  # what it is is read from its bytes
    else:
        Image.fromarray(decoded).save(path.with_name(path.name + ".png"))
    return True


def _find_own(run: Path) -> tuple[ImageStore, tuple[str, ...]] | None:
    """The images that the run learned from and was tested on, if they are still where they were."""
    state = read_state(run)
    if state is None or state.data is None:
        return None
    try:
        table = read_samples(state.data, min_classes=1)
    except DataError:
        return None
    return table.store, table.names


def _count_gigaflop(architecture: Architecture, image_size: int) -> float | None:
    """Billions of operations for one image, two for each multiply-add; None without torch."""
    if find_spec("torch") is None:
        return None
    import torch

    from eyebright.models.catalog import build_model, count_multiply_adds

    with torch.device("meta"):  # shapes only: no memory, no initialisation
        model = build_model(
            architecture.model,
            num_classes=architecture.num_classes,
            in_channels=architecture.in_channels,
            **architecture.options(),
        )
    return 2 * count_multiply_adds(model, image_size) / 1e9

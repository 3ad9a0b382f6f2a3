"""A saved classifier as a page for any browser: the exported engine and all that its answers need, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eyebright.bundle.engines import VerifiedEngine
from eyebright.bundle.manifest import Manifest, find_bundle
from eyebright.errors import OutputError, SettingsError, printable
from eyebright.evaluation.report import percent
from eyebright.exporting.web import WebSubject, render_web
from eyebright.exporting.web_runtime import WebRuntime
from eyebright.inference.load import load
from eyebright.models.catalog import find_model
from eyebright.page import markup
from eyebright.progress import Progress
from eyebright.writing import refuse_existing, write_new

PAGE = "web.html"


def choose_target(run: Path, out: Path | None) -> Path:
    """Where the page goes: into the run's folder where nothing else is said.

    Raises:
        OutputError: it is there already, or its folder is not.
        SettingsError: a bundle without its run, which is sealed.
    """
    if out is None:
        if find_bundle(run) == run:
            raise SettingsError(f"{printable(str(run))} is a bundle, which stays as it is; give --out page.html")
        out = run / PAGE
    refuse_existing(out)
    if not out.absolute().parent.is_dir():
        raise OutputError(f"there is no folder {printable(str(out.parent))} to write {printable(out.name)} into")
    return out


def write_web_page(
    run: Path, target: Path, verified: VerifiedEngine, runtime: WebRuntime, *, progress: Progress
) -> None:
    """Write the page.

    Args:
        run: a run's folder, or a bundle.
        target: a file that is not there.
        verified: the engine in the bundle that runs in the page.
        runtime: what runs it in a browser.
        progress: told what is being done.

    Raises:
        BundleError: the classifier is damaged.
        ExportError: the network is too large for a page.
        OutputError: the page can't be written.
    """
    predictor = load(run, engine=verified.engine)
    assert verified.file is not None
    progress.say("writing the page")
    network = (find_bundle(run) / verified.file).read_bytes()
    page = render_web(_subject(predictor.manifest), predictor, network, verified, runtime)
    write_new(target, page.encode("utf-8"))


def _subject(manifest: Manifest) -> WebSubject:
    """What the bundle says of itself."""
    provenance = manifest.provenance
    data, results = (_table(provenance, key) for key in ("data", "results"))
    network = find_model(manifest.architecture.model).title
    facts = []
    if {"accuracy", "accuracy_low", "accuracy_high", "num_samples"} <= set(results):
        low, high = (f"{100 * float(results[key]):.1f}" for key in ("accuracy_low", "accuracy_high"))
        images = markup.plural(int(results["num_samples"]), "test image")
        facts.append(f"{percent(float(results['accuracy']))} right ({low} to {high}) of {images}")
    size = manifest.preprocessing.image_size
    facts.append(f"sees {size} x {size} pixels")
    if "created" in provenance:
        facts.append(f"trained {provenance['created']}")
    return WebSubject(title=f"{network} for {data.get('name', 'images')}", facts=tuple(facts))


def _table(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}

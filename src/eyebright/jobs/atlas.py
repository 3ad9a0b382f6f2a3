"""The atlas: a few pages that explain image classification with the real networks, in one folder."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from eyebright.data.decode import decode_anything
from eyebright.explanation.explain import Explainer
from eyebright.explanation.features import first_filters
from eyebright.explanation.features_page import picture_filters
from eyebright.explanation.overlay import overlay
from eyebright.jobs.demo import embedded_images
from eyebright.jobs.draw import Look, draw
from eyebright.jobs.runs import new_folder
from eyebright.lessons import networks
from eyebright.lessons.compute import answer, compute_lessons
from eyebright.lessons.measured import read_residuals, read_transfer
from eyebright.lessons.networks import Drawn, HeatMap
from eyebright.lessons.render import build_pages, introduction, layers
from eyebright.models.protocol import Network
from eyebright.models.vgg import VGG
from eyebright.models.weights import load_pretrained
from eyebright.writing import write_new

EXAMPLE = "test/Ankle boot/00028.png"
"""One that ResNet-50 gives a fitting name, though none of the 1,000 is its label."""
STRANGE = "test/Sandal/00084.png"
"""One that ResNet-50 is sure and wrong about."""
FIRST = "index.html"


@dataclass(frozen=True, kw_only=True)
class Atlas:
    """The pages, by the names that their links use."""

    pages: Mapping[str, str]

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write all pages into a new or empty folder.

        Raises:
            OutputError: it holds something already, or can't be written.
        """
        with new_folder(Path(folder), "atlas") as target:
            for name, page in self.pages.items():
                write_new(target / name, page.encode())
        return target


def atlas(*, out: str | os.PathLike[str] | None = None) -> Atlas:
    """Make the atlas from the starter weights and the embedded images.

    Args:
        out: also write it into this new folder.

    Raises:
        WeightsError: the starter weights are not installed, or damaged.
        OutputError: the folder holds something already, or can't be written.
    """
    made = Atlas(pages=build_pages(_bodies()))
    if out is not None:
        made.save(out)
    return made


def _bodies() -> dict[str, str]:
    """File -> what stands on it, below its heading and first words."""
    resnet, vgg = (load_pretrained(name, "starter", num_classes=1000) for name in ("resnet50", "vgg16"))
    assert isinstance(resnet.model, Network) and isinstance(vgg.model, VGG) and resnet.class_names is not None
    resnet.model.eval(), vgg.model.eval()
    originals = {name: _read(name) for name in (EXAMPLE, STRANGE)}
    lessons = compute_lessons(
        vgg.model, resnet.model, resnet.class_names, resnet.preprocessing, originals[EXAMPLE], _label(EXAMPLE)
    )
    seen = resnet.preprocessing(originals[STRANGE][..., None].repeat(3, axis=2))
    with torch.inference_mode():
        strange = answer(resnet.model(torch.from_numpy(np.ascontiguousarray(seen))[None])[0], resnet.class_names)
    explainer = Explainer(resnet.model, resnet.preprocessing, resnet.class_names)
    image = explainer.prepare(resnet.preprocessing.square(originals[EXAMPLE][..., None].repeat(3, axis=2)))
    label = resnet.class_names.index(lessons.answered.labels[0])
    judged = explainer.judge(image, explainer.attribute(image, label))
    heat = HeatMap(
        picture=overlay(lessons.image, judged.attribution),
        label=judged.attribution.label,
        layer=judged.attribution.layer,
        score=judged.faithfulness.score,
        random_score=judged.faithfulness.random_score,
    )
    filters = picture_filters(first_filters(resnet.model)[1])
    return {
        "index.html": introduction(lessons, strange, _label(STRANGE), originals[STRANGE]),
        "layers.html": layers(lessons),
        "vgg16.html": networks.vgg(_drawn("vgg16", ("volumes", "table"))),
        "resnet50.html": networks.resnet(_drawn("resnet50", ("volumes", "flow", "table")), read_residuals()),
        "learned.html": networks.learned(lessons, filters, heat),
        "transfer.html": networks.transfer(read_transfer()),
    }


def _read(name: str) -> NDArray[np.uint8]:
    """An embedded image, (28, 28) grey."""
    with zipfile.ZipFile(embedded_images()) as archive:
        return decode_anything(archive.read(name))[..., 0]


def _label(name: str) -> str:
    return name.split("/")[1]


def _drawn(name: str, views: tuple[Look, ...]) -> Drawn:
    drawings = {view: draw(name, view=view) for view in views}
    return Drawn(graph=drawings[views[0]].graph, scenes={view: found.scene for view, found in drawings.items()})

"""One image and a network -> maps of what its answer came from, each measured.

Shapes: N images, C channels, R side of a square, S side that the network sees, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from eyebright.embedding.embed import computes_bfloat16
from eyebright.errors import SettingsError, nearest, printable
from eyebright.explanation.attribution import METHODS, Attribution, JudgedMap, Method
from eyebright.explanation.faithfulness import CELLS, Judge
from eyebright.explanation.grad_cam import WAYS, differentiate, enlarge, grad_cam, hires_cam
from eyebright.explanation.integrated_gradients import integrated_gradients
from eyebright.explanation.layer import MapLayer, averages_positions, choose_layer, find_layer, list_map_layers
from eyebright.explanation.occlusion import occlusion
from eyebright.models.layers import fold_batch_norm, lay_channels_last
from eyebright.preprocess import Preprocessing


@final
class Explainer:
    """A classifier, ready to be asked why.

    Args:
        model: a network of the catalogue; it is not changed.
        preprocessing: the way from a square to what the network sees.
        class_names: K names.
        layer: whose map Grad-CAM and its relatives draw; by default `choose_layer` decides.
        several_labels: whether an image may have any number of the classes.
        temperature: what the logits are divided by before they become probabilities, so that these are the calibrated
            ones that the classifier answers with.

    Raises:
        ModelError: there is no such layer, or none at all that answers with maps.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing,
        class_names: Sequence[str],
        *,
        layer: str | None = None,
        several_labels: bool = False,
        temperature: float = 1.0,
    ) -> None:
        self._model = lay_channels_last(fold_batch_norm(model)).requires_grad_(False)
        self._preprocessing = preprocessing
        self._several_labels = several_labels
        self._temperature = temperature
        self.class_names = tuple(class_names)
        side = preprocessing.image_size
        nothing = torch.zeros(1, preprocessing.channels, side, side)
        layers = list_map_layers(self._model, nothing)
        self.layer: MapLayer = choose_layer(layers) if layer is None else find_layer(layers, layer)
        self._averages = averages_positions(self._model, nothing)
        self._bfloat16 = computes_bfloat16("cpu")
        self._judge = Judge(classify=self.classify)

    def prepare(self, square: NDArray[np.uint8]) -> Tensor:
        """(R, R, C) uint8, as `Preprocessing.square` makes it -> (1, C, S, S), normalised."""
        batch = self._preprocessing.normalise(self._preprocessing.crop(square[None]))
        return torch.from_numpy(batch)

    @property
    def best_method(self) -> Method:
        """What is most faithful for its price: Grad-CAM, or Layer-CAM under a head that keeps positions apart."""
        return "grad-cam" if self._averages else "layer-cam"

    def attribute(
        self, image: Tensor, label: int, *, method: Method = "grad-cam", against: int | None = None
    ) -> Attribution:
        """Which parts of an image speak for a class.

        Args:
            image: (1, C, S, S), as `prepare` makes it.
            label: the class's index in [0, K).
            method: one of `METHODS`.
            against: another class: what speaks for `label` rather than for it. Grad-CAM and its relatives then weigh
                channels as one (Grad-CAM), or each position for itself under a head that keeps them apart (HiResCAM).
        """
        side = image.shape[-1]
        if method in WAYS:
            activations, gradients = differentiate(self._model, image, self.layer.name, label, against)
            way = WAYS[method] if against is None else grad_cam if self._averages else hires_cam
            small = way(activations, gradients)
        elif method == "occlusion":
            small = occlusion(self._model, image, label, against)
        else:
            # Single pixels are noise; their sum over a cell is not.
            cells = min(CELLS, side)
            small = F.adaptive_avg_pool2d(integrated_gradients(self._model, image, label, against)[None, None], cells)[
                0, 0
            ]
        return Attribution(
            method=method,
            values=enlarge(small, side),
            grid=(small.shape[0], small.shape[1]),
            layer=self.layer.name if method in WAYS else "",
            label=self.class_names[label],
            against=None if against is None else self.class_names[against],
        )

    def judge(self, image: Tensor, attribution: Attribution) -> JudgedMap:
        """A map with how faithful it is, against random ones."""
        return self.judge_all(image, [attribution])[0]

    def judge_all(self, image: Tensor, attributions: Sequence[Attribution]) -> tuple[JudgedMap, ...]:
        """Maps of one image and class, each with how faithful it is; sooner than one after the other."""
        if not attributions:
            return ()
        (label,) = {attribution.label for attribution in attributions}
        measured = self._judge.measure_all(image, attributions, self.class_names.index(label))
        return tuple(
            JudgedMap(attribution=attribution, faithfulness=faithfulness)
            for attribution, faithfulness in zip(attributions, measured, strict=True)
        )

    def classify(self, images: Tensor) -> Tensor:
        """(N, C, S, S) -> probabilities (N, K), calibrated; in bfloat16 where the processor has it: there are many."""
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            logits: Tensor = self._model(images.contiguous(memory_format=torch.channels_last)).float()
        return logits.sigmoid() if self._several_labels else (logits / self._temperature).softmax(dim=1)


def find_methods(names: Sequence[str]) -> tuple[Method, ...]:
    """The methods of some names, each once.

    Raises:
        SettingsError: there is no such method; the nearest is named.
    """
    found: list[Method] = []
    for name in names:
        if name not in METHODS:
            raise SettingsError(f'there is no method "{printable(name)}"; {nearest(name, METHODS)}')
        if name not in found:
            found.append(name)
    return tuple(found)


def find_class(name: str, class_names: Sequence[str]) -> int:
    """The index of a class.

    Raises:
        SettingsError: the classifier knows no such class; the nearest is named.
    """
    if name in class_names:
        return list(class_names).index(name)
    lowered = {known.lower(): known for known in class_names}
    hint = nearest(name, lowered) if len(class_names) <= 50 else _nearest_of_many(name, lowered)
    raise SettingsError(f'the classifier knows no class "{printable(name)}"; {printable(hint)}')


def _nearest_of_many(name: str, known: dict[str, str]) -> str:
    hint = nearest(name, known)
    return hint if hint.startswith("did you mean") else "its manifest.json lists the classes"

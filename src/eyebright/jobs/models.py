"""What `eyebright models` lists: every network, and the weights that it can start from."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from eyebright.models.catalog import MODELS, build_model, count_multiply_adds, count_parameters
from eyebright.models.published import WeightsEntry, is_starter_installed, list_weights, locate


@dataclass(frozen=True, kw_only=True)
class ListedWeights:
    """One set of weights."""

    entry: WeightsEntry
    place: str
    """"starter", "starter (not installed)", "cache" or "download"."""


@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """One network."""

    name: str
    title: str
    sentence: str
    parameters: int
    """With 1000 classes."""
    multiply_adds: int
    """For one image of 224 x 224 pixels."""
    weights: tuple[ListedWeights, ...]


def list_models() -> tuple[ListedModel, ...]:
    """Every network of the catalogue. Takes no memory for weights: shapes only."""
    listed = []
    for entry in MODELS.values():
        with torch.device("meta"):
            model = build_model(entry.name)
        listed.append(
            ListedModel(
                name=entry.name,
                title=entry.title,
                sentence=entry.sentence,
                parameters=count_parameters(model),
                multiply_adds=count_multiply_adds(model, 224),
                weights=tuple(
                    ListedWeights(entry=weights, place=_place(weights)) for weights in list_weights(entry.name)
                ),
            )
        )
    return tuple(listed)


def _place(entry: WeightsEntry) -> str:
    place = locate(entry)
    return "starter (not installed)" if place == "starter" and not is_starter_installed() else place

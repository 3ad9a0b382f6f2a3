"""Activation maximisation: pictures that a channel answers most strongly, painted by gradient ascent.

Shapes: M channels, each with a picture of its own; C colours, S side of a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyebright.models.protocol import Network
from eyebright.preprocess import Preprocessing

STEPS = 64
_RATE = 0.05
_SEED = 0
_CONTRAST = 0.8  # of the noise at the start, before the sigmoid
_TRIES = (
    24  # noises of which each channel starts from the one that it answers best: to most, deep channels answer nothing
)
# Natural colours vary most in lightness, far less from blue to yellow, least from green to red (Ruderman et al., 1998).
_LIGHT, _BLUE_YELLOW, _GREEN_RED = (1.0, 1.0, 1.0), (0.35, 0.0, -0.35), (0.12, -0.24, 0.12)


def maximise(
    network: Network,
    stage: str,
    channels: Sequence[int],
    preprocessing: Preprocessing,
    *,
    side: int,
    steps: int = STEPS,
    step_done: Callable[[], None] = lambda: None,
) -> list[NDArray[np.uint8] | None]:
    """Pictures that excite channels of a stage, from noise.

    A picture is painted by its frequencies, coarse ones moving as easily as fine ones, and shifted at random before
    each step; without either, gradient ascent ends in patterns that no eye can read.

    Args:
        network: in evaluation mode.
        stage: one of its stages.
        channels: M of the stage's channels.
        preprocessing: its mean and std turn a picture into what the network sees.
        side: S, in pixels.
        steps: of the ascent.
        step_done: called after each.

    Returns:
        M pictures (S, S, 3) uint8, the same for the same arguments; None for a channel that answers to no noise, so
        that there is no way up.

    Source:
        Erhan et al., "Visualizing Higher-Layer Features of a Deep Network", 2009; frequencies and shifts as in Olah et
        al., "Feature Visualization", Distill, 2017, doi:10.23915/distill.00007.
    """
    chance = torch.Generator().manual_seed(_SEED)
    colours = preprocessing.channels
    # Natural pictures are weaker the finer: 1 / frequency.
    across = torch.fft.rfftfreq(side)[None, :]
    down = torch.fft.fftfreq(side)[:, None]
    scale = 1 / torch.sqrt(across**2 + down**2).clamp(min=1 / side)
    axes = torch.tensor([_LIGHT, _BLUE_YELLOW, _GREEN_RED]).T if colours == 3 else torch.ones(1, 1)
    mean = torch.tensor(preprocessing.mean)[:, None, None]
    std = torch.tensor(preprocessing.std)[:, None, None]

    def waves(spectrum: Tensor) -> Tensor:
        found: Tensor = torch.fft.irfft2(spectrum * scale, s=(side, side), norm="ortho")
        return found

    def paint(spectrum: Tensor) -> Tensor:
        return torch.sigmoid(torch.einsum("rc,mcyx->mryx", axes, waves(spectrum)))

    noise = torch.complex(*torch.randn(2, _TRIES, colours, side, side // 2 + 1, generator=chance).unbind(0))
    scale = scale * (_CONTRAST / float(waves(noise).std()))
    with torch.inference_mode():
        tried = network.forward_features((paint(noise) - mean) / std, stage)[stage][:, list(channels)].mean(dim=(2, 3))
    awake = [place for place, answer in enumerate(tried.amax(dim=0).tolist()) if answer > 0]
    if not awake:
        return [None] * len(channels)
    spectrum = noise[tried.argmax(dim=0)[awake]].clone().requires_grad_()
    optimiser = torch.optim.Adam([spectrum], lr=_RATE)
    rows, wanted = torch.arange(len(awake)), torch.tensor([channels[place] for place in awake])
    reach = max(1, side // 16)

    for _ in range(steps):
        shifts = torch.randint(-reach, reach + 1, (2,), generator=chance).tolist()
        seen = torch.roll((paint(spectrum) - mean) / std, shifts, dims=(2, 3))
        answers = network.forward_features(seen, stage)[stage]
        loss = -answers[rows, wanted].mean(dim=(1, 2)).sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        step_done()
    with torch.no_grad():
        pictures = (255 * paint(spectrum)).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    shown: list[NDArray[np.uint8] | None] = [None] * len(channels)
    for place, picture in zip(awake, pictures, strict=True):
        shown[place] = picture if colours == 3 else picture.repeat(3, axis=2)
    return shown

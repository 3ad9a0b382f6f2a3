from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch

from eyebright.data.sending import exactly, float32_as, send, send_normalised
from eyebright.preprocess import Preprocessing


def precisions() -> tuple[str, str]:
    backends: Any = torch.backends  # what torch says of its own types lacks them
    return backends.cudnn.conv.fp32_precision, backends.cuda.matmul.fp32_precision


def test_on_a_cpu_nothing_is_copied() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    tensor = send(pixels, "cpu")
    assert tensor.data_ptr() == pixels.ctypes.data
    preprocessing = Preprocessing(image_size=2, resize=2)
    normalised = send_normalised(pixels, preprocessing, "cpu")
    assert np.array_equal(normalised.numpy(), preprocessing.normalise(pixels))


def test_the_precision_of_a_gpu_is_put_back_and_is_not_changed_inside_an_exact_block() -> None:
    before = precisions()
    with float32_as("tf32"):
        assert precisions() == ("tf32", "tf32")
        inside = threading.Event()

        def fast() -> None:
            with float32_as("tf32"):
                inside.set()

        with exactly(), exactly():
            assert precisions() == ("ieee", "ieee")
            other = threading.Thread(target=fast)
            other.start()
            assert not inside.wait(0.1)
            assert precisions() == ("ieee", "ieee")
        other.join()
        assert precisions() == ("tf32", "tf32")
    assert precisions() == before

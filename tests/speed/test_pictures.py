from __future__ import annotations

import numpy as np

from eyebright.data.decode import decode
from eyebright.speed.pictures import encode_jpeg, generate_picture


def test_a_picture_is_the_same_again_and_unlike_the_next() -> None:
    first, again, other = (np.asarray(generate_picture(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (600, 800, 3)
    assert first.std() > 20


def test_its_jpeg_is_as_large_as_a_photo_s() -> None:
    content = encode_jpeg(generate_picture(0))
    assert 60_000 < len(content) < 200_000
    assert decode(content, "picture").shape == (600, 800, 3)
    assert decode(encode_jpeg(generate_picture(0), (80, 60)), "small").shape == (60, 80, 3)

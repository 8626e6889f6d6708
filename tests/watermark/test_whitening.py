"""The whitening kernel can be fitted again, and fits what it was fitted for."""

import numpy as np
import numpy.typing as npt

from watermark.keyed import features
from watermark.train import whitening

Floats = npt.NDArray[np.float32]


def test_a_fit_is_symmetric_and_close_to_the_shipped_kernel(voices: dict[str, Floats]) -> None:
    kernel = whitening.fit(list(voices.values()))
    assert np.allclose(kernel, kernel[::-1])
    assert np.allclose(kernel, kernel[:, ::-1])
    assert kernel[2, 2] == 0
    assert np.abs(kernel - features.KERNEL).max() < 0.12


def test_the_shipped_kernel_predicts_most_of_unseen_speech(voices: dict[str, Floats]) -> None:
    assert whitening.explained(features.KERNEL.astype(np.float64), [voices["kerstin_1"]]) > 0.9

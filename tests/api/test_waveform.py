"""The outline of a waveform against numbers worked out by hand, and over REST."""

import numpy as np
import pytest

from api.waveform import outline
from tests.api.conftest import Server, recording
from tests.api.test_hostile_uploads import assert_problem


def test_each_number_is_the_loudest_sample_of_its_span() -> None:
    wav_T = np.array([0.1, -0.5, 0.25, 0.0, -2.0, 0.1234], np.float32)
    assert outline(wav_T, 3) == [0.5, 0.25, 1.0]  # what is beyond full scale counts as full scale
    assert outline(wav_T, 6) == [0.1, 0.5, 0.25, 0.0, 1.0, 0.123]
    assert outline(wav_T, 4) == [0.1, 0.5, 0.0, 1.0]  # spans begin at 0, 1.5, 3, 4.5, rounded down


def test_there_are_never_more_numbers_than_samples() -> None:
    assert outline(np.array([0.5, -0.25], np.float32), 600) == [0.5, 0.25]
    assert outline(np.zeros(0, np.float32), 600) == []


def test_no_sample_is_left_out() -> None:
    """A click between two spans must be seen."""
    for at in (0, 1, 499, 999, 1000):
        wav_T = np.zeros(1001, np.float32)
        wav_T[at] = 1.0
        assert max(outline(wav_T, 7)) == 1.0


@pytest.mark.parametrize("num_peaks", [1, 600, 2000])
def test_a_detection_has_the_outline_that_was_asked_for(server: Server, num_peaks: int) -> None:
    audio = {"content": recording("amelia"), "headers": {"Content-Type": "audio/flac"}}
    answer = server.anonymous.post(f"/v1/detections?waveform={num_peaks}", **audio).json()
    assert len(answer["waveform"]) == num_peaks and 0.1 < max(answer["waveform"]) <= 1.0
    assert server.anonymous.post("/v1/detections", **audio).json()["waveform"] is None
    assert server.client.post("/v1/detections/check", json=answer).json()["valid"]  # it is signed too


@pytest.mark.parametrize("num_peaks", ["0", "2001", "-1", "x", ""])
def test_a_number_of_peaks_out_of_range_is_refused(server: Server, num_peaks: str) -> None:
    audio = {"content": recording("amelia"), "headers": {"Content-Type": "audio/flac"}}
    response = server.anonymous.post(f"/v1/detections?waveform={num_peaks}", **audio)
    assert assert_problem(response)["code"] == "invalid-request"

"""The picture of a detection, as XML and not as pixels: what is drawn lies where the JSON says."""

import copy
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from api.cli.plot import LANE_HEIGHT, LEFT, RIGHT, WIDTH, draw
from tests.api.cli.test_wording import DETECTION

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def detection() -> dict[str, Any]:
    found = copy.deepcopy(DETECTION)
    found["input"] = {"duration_s": 10.0}
    found["waveform"] = [0.0, 0.5, 1.0, 0.25]
    for row in found["evidence"]:
        row["score"] = 12.5 if row["segments"] else None
        for span in row["segments"]:
            span["score"] = 6.25
    return found


def spans(picture: str) -> list[ET.Element]:
    return [one for one in ET.fromstring(picture).iter(f"{SVG}rect") if one.find(f"{SVG}title") is not None]


def test_a_span_lies_at_its_times(detection: dict[str, Any]) -> None:
    inner = WIDTH - LEFT - RIGHT
    mark, match = spans(draw("a.wav", detection))
    assert float(mark.get("x", "")) == LEFT
    assert float(mark.get("width", "")) == pytest.approx(0.824 * inner, abs=0.1)
    assert float(match.get("width", "")) == pytest.approx(0.8 * inner, abs=0.1)
    assert mark.find(f"{SVG}title").text == "0.00 to 8.24 s, score 6.25"


def test_spans_are_as_high_as_their_scores(detection: dict[str, Any]) -> None:
    row = detection["evidence"][0]
    row["segments"] = [
        {"start_s": 0.0, "end_s": 1.0, "score": 10.0},
        {"start_s": 1.0, "end_s": 2.0, "score": 5.0},
        {"start_s": 2.0, "end_s": 3.0, "score": None},
    ]
    heights = [float(one.get("height", "")) for one in spans(draw("a.wav", detection))]
    assert heights[:2] == [LANE_HEIGHT, LANE_HEIGHT / 2] and heights[2] > 0


def test_the_name_of_a_file_is_text_and_never_markup(detection: dict[str, Any]) -> None:
    picture = draw('<script>"&', detection)
    assert "<script>" not in picture
    assert ET.fromstring(picture).find(f"{SVG}title").text == '<script>"&'


def test_audio_without_evidence_has_a_picture_too(detection: dict[str, Any]) -> None:
    detection["evidence"], detection["waveform"] = [], []
    assert spans(draw("a.wav", detection)) == []

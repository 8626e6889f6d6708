"""The picture of a detection: what is drawn lies where the JSON says."""

import copy
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from api.cli.errors import UsageError
from api.cli.main import main
from api.cli.plot import COLOURS, draw, require_plot
from tests.api.cli.test_wording import DETECTION

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def detection() -> dict[str, Any]:
    found = copy.deepcopy(DETECTION)
    found["input"] = {"duration_s": 10.0}
    found["waveform"] = [0.0, 0.5, 1.0, 0.25]
    found["evidence"][0]["scores"] = [{"at_s": 0.5 + i / 2, "score": float(i % 3)} for i in range(19)]
    return found


def _drawn(picture: bytes, colour: str) -> list[list[float]]:
    """Of each path in the colour, the horizontal places it goes through."""
    paths = [one for one in ET.fromstring(picture).iter(f"{SVG}path") if colour in str(one.attrib)]
    return [[float(word) for word in one.get("d", "").split() if _is_number(word)][::2] for one in paths]


def _is_number(word: str) -> bool:
    return word.replace(".", "").replace("-", "").isdigit()


def test_spans_lie_at_their_times(detection: dict[str, Any]) -> None:
    """A mark of 8.24 s and a match of 8 s, both from the beginning: what they cover has that proportion."""
    picture = draw("a.wav", detection, ".svg")
    (mark,) = [xs for xs in _drawn(picture, COLOURS["watermark_keyed"]) if len(xs) < 8]
    (match,) = _drawn(picture, COLOURS["fingerprint"])
    assert min(mark) == pytest.approx(min(match), abs=0.01)
    assert (max(match) - min(match)) / (max(mark) - min(mark)) == pytest.approx(8.0 / 8.24, rel=1e-3)


def test_the_score_is_a_line_over_time(detection: dict[str, Any]) -> None:
    lines = [xs for xs in _drawn(draw("a.wav", detection, ".svg"), COLOURS["watermark_keyed"]) if len(xs) > 8]
    assert len(lines) == 1 and lines[0] == sorted(lines[0])


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".PDF", b"%PDF"), (".svg", b"<?xml")])
def test_the_suffix_says_the_format(detection: dict[str, Any], suffix: str, begins: bytes) -> None:
    assert draw("a.wav", detection, suffix).startswith(begins)


def test_the_name_of_a_file_is_text_and_never_markup_or_a_formula(detection: dict[str, Any]) -> None:
    assert draw('<script>"&$x^', detection, ".svg").count(b"<script>") == 0


def test_audio_without_evidence_has_a_picture_too(detection: dict[str, Any]) -> None:
    detection["evidence"], detection["waveform"] = [], []
    assert draw("a.wav", detection, ".png").startswith(b"\x89PNG")


def test_one_file_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--plot", "out.svg", "a.wav", "b.wav"]) == 2
    assert "one by one" in capsys.readouterr().err


def test_another_format_is_refused_before_any_work() -> None:
    with pytest.raises(UsageError, match="name the picture"):
        require_plot(Path("a.bmp"))

"""Query parameters: the published names, bounded, and none of them needed."""

import pytest

from api.chat.errors import ParameterRefused
from api.chat.parameters import wishes_of
from generation import Sampling


def test_without_parameters_the_models_defaults_hold() -> None:
    """The official Python client sends none."""
    wishes = wishes_of({})
    assert wishes.sampling == Sampling()
    assert wishes.seed is None
    assert wishes.provenance is False


def test_who_asks_is_told_what_the_speech_is_issued_as() -> None:
    assert wishes_of({"provenance": "true"}).provenance is True
    assert wishes_of({"provenance": "true", "text_seed": "1"}).provenance is True
    for value in ("yes", "", "True", "1"):
        with pytest.raises(ParameterRefused, match="provenance"):
            wishes_of({"provenance": value})


def test_the_web_clients_names_are_read_and_others_passed_over() -> None:
    query = {
        "text_temperature": "0.5", "text_topk": "10", "audio_temperature": "1", "audio_topk": "2048",
        "text_seed": "1", "audio_seed": "2", "pad_mult": "0", "repetition_penalty": "1.0",
        "repetition_penalty_context": "64", "email": "a@b.c", "worker_auth_id": "x",
    }  # fmt: skip
    wishes = wishes_of(query)
    assert wishes.sampling == Sampling(temperature=1.0, top_k=250, text_temperature=0.5, text_top_k=10)
    assert wishes.seed == 1 << 31 | 2
    assert wishes_of({"audio_seed": "2147483647", "text_seed": "2147483647"}).seed == 2**62 - 1


@pytest.mark.parametrize("name", ["text_temperature", "audio_temperature"])
@pytest.mark.parametrize("value", ["-0.1", "2.1", "nan", "inf", "1e999", "", "hot", "\u0661\u0662"])
def test_a_temperature_out_of_range_is_refused(name: str, value: str) -> None:
    with pytest.raises(ParameterRefused, match=name):
        wishes_of({name: value})


@pytest.mark.parametrize("name", ["text_topk", "audio_topk", "text_seed", "audio_seed"])
@pytest.mark.parametrize("value", ["-1", "1.5", "4294967296", "9" * 5000, "", "x", "\u0661", " 1"])
def test_a_count_out_of_range_is_refused(name: str, value: str) -> None:
    with pytest.raises(ParameterRefused, match=name):
        wishes_of({name: value})

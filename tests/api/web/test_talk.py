"""The page `/talk` in a real browser, with a microphone that plays a person and a parrot in the model's
place."""

import time

import numpy as np

from audio import decode
from benchmarks.browser import Browser, View
from registry import GenerationState
from tests.api.conftest import recording
from tests.api.web.conftest import QUESTION, Site, assert_clean

TALK_S = 7.0
OTHERS = ("amelia", "eltocino", "adocampo", "kathleen_1", "kerstin_1")


def talk(view: View, seconds: float) -> None:
    """Until so much marked speech has come."""
    view.page.click("#start")
    view.until(f"parseFloat(document.getElementById('marked').textContent) >= {seconds}")


def test_what_is_heard_is_marked_proved_and_verifies_and_the_question_was_heard(
    browser: Browser, site: Site
) -> None:
    """Microphone to Opus to model and back, through the browser's own codecs and our Ogg, to a verdict."""
    with browser.view("/talk") as view:
        page = view.page
        talk(view, TALK_S)
        assert "word" in page.inner_text("#transcript")
        page.wait_for_selector("#live-checks .tone-good")
        assert ", begun" in page.inner_text("#log-entry")
        assert "left" in page.inner_text("#left")
        heard_T = np.concatenate(site.parrot.heard[0])
        page.click("#stop")
        page.wait_for_selector("text=were issued. The receipt proves it")
        assert ", finished" in page.inner_text("#log-entry")
        generation_id, content_id = page.inner_text("#generation-id"), page.inner_text("#content-id")
        newest = site.service.registry.generations(limit=1)[0]
        assert (str(newest.generation_id), f"{newest.content_id:012x}") == (generation_id, content_id)
        assert newest.state is GenerationState.COMPLETE
        page.click("#check")
        assert view.verdict() == "issued_here"
        assert content_id in page.inner_text("#result")
        assert_clean(view, browser)
    like = {name: likeness(heard_T, decode(recording(name)).wav_T) for name in (QUESTION, *OTHERS)}
    assert like[QUESTION] > max(like[name] for name in OTHERS) + 0.1, like


def likeness(heard_T: np.ndarray, said_T: np.ndarray) -> float:
    """How well the loudness of 3 s of what was heard follows some 3 s of what was said, over and over:
    chromium cleans what its microphone hears, so samples differ."""

    def loudness(wav_T: np.ndarray) -> np.ndarray:
        frames = wav_T[: len(wav_T) // 480 * 480].reshape(-1, 480)
        return np.log10(np.square(frames).mean(1) + 1e-6)

    heard, said = loudness(heard_T)[150:300], loudness(np.tile(said_T, 2))
    return max(np.corrcoef(heard, said[at : at + len(heard)])[0, 1] for at in range(len(said) - len(heard)))


def test_who_waits_is_told_where_and_is_seated_when_a_place_is_free(browser: Browser, site: Site) -> None:
    with browser.view("/talk") as first, browser.view("/talk") as second:
        talk(first, 0.5)
        second.page.click("#start")
        second.page.wait_for_selector("text=You are next.")
        first.page.click("#stop")
        second.page.wait_for_selector("text=It listens. Speak.")
        second.page.click("#stop")
        second.page.wait_for_selector("text=The conversation is over.")


def test_mute_sends_silence(browser: Browser, site: Site) -> None:
    with browser.view("/talk") as view:
        talk(view, 0.5)
        view.page.click("#mute")
        assert view.page.get_attribute("#mute", "aria-pressed") == "true"
        time.sleep(2.5)
        heard_T = np.concatenate(site.parrot.heard[0])
        view.page.click("#stop")
        view.page.wait_for_selector("text=The conversation is over.")
    assert np.abs(heard_T[-24_000:]).max() < 0.01 < np.abs(heard_T[:24_000]).max()


def test_the_end_of_the_session_is_said(browser: Browser, site: Site) -> None:
    """Whatever ends it, the person hears of it and gets the receipt."""
    with browser.view("/talk") as view:
        talk(view, 1.0)

        def fail() -> None:
            site.parrot.on_step = lambda: None
            raise RuntimeError("a fault of the model, made by the test")

        site.parrot.on_step = fail
        view.page.wait_for_selector("text=the model failed; the conversation cannot go on")
        assert view.page.is_visible("#start")


def test_a_text_is_spoken_marked_and_verified(browser: Browser, site: Site) -> None:
    """The tiny voice says noise, which suffers through Opus: the mark may be found in parts only."""
    with browser.view("/talk") as view:
        view.page.fill("#say-text", "The quick brown fox jumps over the lazy dog while it rains.")
        view.page.click("#say button")
        view.page.wait_for_selector("#said >> text=An API key is needed")
        view.page.fill("#say-key", site.key)
        view.page.click("#say button")
        view.page.wait_for_selector("#said audio")
        newest = site.service.registry.generations(limit=1)[0]
        assert f"{newest.content_id:012x}" in view.page.inner_text("#said")
        view.page.click("#said button")
        assert view.verdict() in ("issued_here", "issued_here_altered")
        assert site.key not in view.page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
        assert_clean(view, browser)


def test_ogg_is_written_and_read_as_the_server_does(browser: Browser) -> None:
    """The server passes over a page whose checksum is wrong, so an error here is silence there."""
    from audio import PacketReader

    rng = np.random.default_rng(5)
    packets = [rng.bytes(length) for length in (1, 100, 254, 255, 256, 509, 510, 700)]
    body = """async (given) => {
      const { OggReader, OggWriter } = await import("/web/ogg.js"); const writer = new OggWriter(), reader =
      new OggReader(); const pages = [writer.begin(), ...given.map((packet) =>
      writer.write(Uint8Array.from(packet), 1920))]; const stream = [7, 79, 103, ...pages.flatMap((page) =>
      [...page])]; const broken = pages[2].slice(); broken[40] ^= 1; const read = []; for (let at = 0; at <
      stream.length; at += 37) read.push(...reader.push(Uint8Array.from(stream.slice(at, at + 37))));
      read.push(...reader.push(broken)); return [stream, read.map((packet) => [...packet])];
    }"""
    with browser.view("/talk") as view:
        stream, read = view.page.evaluate(body, [list(packet) for packet in packets])
    reader = PacketReader()
    ours = reader.push(bytes(stream))
    assert ours[0].startswith(b"OpusHead") and ours[1].startswith(b"OpusTags")
    assert ours[2:] == packets and reader.num_damaged == 0
    assert [bytes(packet) for packet in read] == packets

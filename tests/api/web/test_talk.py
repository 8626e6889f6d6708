"""The page `/talk` in a real browser, with a microphone that plays a person and a parrot in the model's
place."""

import time

import numpy as np

from audio import SAMPLE_RATE_HZ, OpusDecoder, OpusWriter, PacketReader, decode, resample
from audio.opus import is_header
from benchmarks.browser import Browser, View
from registry import GenerationState
from tests.api.conftest import recording
from tests.api.web.conftest import QUESTION, Site, assert_clean

TALK_S = 7.0


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
    assert (
        len(heard_T) > 0.5 * TALK_S * SAMPLE_RATE_HZ and np.abs(heard_T).max() > 0.05
    )  # some came, not silence


def likeness(one_T: np.ndarray, other_T: np.ndarray) -> float:
    """The best correlation of a second of one with any second of the other."""
    piece_T = one_T[SAMPLE_RATE_HZ : 2 * SAMPLE_RATE_HZ]
    at = int(np.correlate(other_T, piece_T, "valid").argmax())
    return float(np.corrcoef(piece_T, other_T[at : at + len(piece_T)])[0, 1])


def test_what_the_browser_encodes_is_what_the_server_hears(browser: Browser) -> None:
    """A recording through the page's encoder and Ogg, then as the server takes it apart: the same speech."""
    said_T = decode(recording(QUESTION)).wav_T[: 3 * SAMPLE_RATE_HZ]
    body = """async (samples) => {
      const { Encoder } = await import("/web/opus.js");
      const stream = [];
      const encoder = new Encoder((pages) => stream.push(...pages), (error) => { throw error; });
      for (let at = 0; at + 1920 <= samples.length; at += 1920) {
        encoder.push(Float32Array.from(samples.slice(at, at + 1920)));
      }
      await encoder.flush();
      return stream;
    }"""
    with browser.view("/talk") as view:
        stream = bytes(view.page.evaluate(body, resample(said_T, SAMPLE_RATE_HZ, 48_000).tolist()))
    decoder = OpusDecoder()
    try:
        packets = [packet for packet in PacketReader().push(stream) if not is_header(packet)]
        heard_T = np.concatenate([decoder.decode(packet) for packet in packets])
    finally:
        decoder.close()
    assert len(heard_T) >= len(said_T) - 1920
    assert likeness(said_T, heard_T) > 0.95


def test_what_the_server_encodes_is_what_the_browser_plays(browser: Browser) -> None:
    """Cut anywhere, as a socket may cut it."""
    said_T = decode(recording(QUESTION)).wav_T[: 3 * SAMPLE_RATE_HZ]
    writer = OpusWriter()
    stream = writer.push(said_T) + writer.flush()
    body = """async (stream) => {
      const { Decoder } = await import("/web/opus.js");
      const heard = [];
      const decoder = new Decoder((block) => heard.push(...block), (error) => { throw error; });
      for (let at = 0; at < stream.length; at += 997) {
        decoder.push(Uint8Array.from(stream.slice(at, at + 997)));
      }
      await decoder.flush();
      return heard;
    }"""
    with browser.view("/talk") as view:
        played = view.page.evaluate(body, list(stream))
    played_T = resample(np.array(played, np.float32), 48_000, SAMPLE_RATE_HZ)
    assert likeness(said_T, played_T) > 0.95


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
        started_s = time.monotonic()
        while not is_silent(site.parrot.heard[0][-12:]):  # what was said before is still on its way
            assert time.monotonic() < started_s + 20
            time.sleep(0.1)
        heard_T = np.concatenate(site.parrot.heard[0])
        view.page.click("#stop")
        view.page.wait_for_selector("text=The conversation is over.")
    assert not is_silent([heard_T])


def is_silent(frames: list[np.ndarray]) -> bool:
    return bool(np.abs(np.concatenate(frames)).max() < 0.01)


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
        view.page.fill("#say-text", "Hello there, how are you today?")
        view.page.click("#say button")
        view.page.wait_for_selector("#said >> text=An API key is needed")
        view.page.fill("#say-key", site.key)
        view.page.click("#say button")
        view.page.wait_for_selector("#said audio", timeout=120_000)
        newest = site.service.registry.generations(limit=1)[0]
        assert f"{newest.content_id:012x}" in view.page.inner_text("#said")
        view.page.click("#said button")
        assert view.verdict() in ("issued_here", "issued_here_altered")
        assert site.key not in view.page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
        assert_clean(view, browser)


def test_ogg_is_written_and_read_as_the_server_does(browser: Browser) -> None:
    """The server passes over a page whose checksum is wrong, so an error here is silence there."""
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

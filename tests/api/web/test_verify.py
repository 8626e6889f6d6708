"""The page `/` in a real browser: what it says of files that were issued, altered, pasted, fetched or are
hostile."""

import ipaddress
import json
from pathlib import Path

import numpy as np
import pytest

from api.fetch import Fetcher, Policy
from api.measured import FINGERPRINT, READER, Measured
from audio import SAMPLE_RATE_HZ, decode, encode
from benchmarks.browser import Browser, View
from registry.null import Null
from tests.api.conftest import Marked, flac, recording
from tests.api.test_detection import transplant
from tests.api.test_fetch import Files, files
from tests.api.test_hostile_uploads import HOSTILE
from tests.api.web.conftest import Site, assert_clean

NO_SHIFT = 0.001


def outcomes(view: View) -> dict[str, str]:
    rows = view.page.query_selector_all("[data-technique]")
    return {one.get_attribute("data-technique"): one.get_attribute("data-outcome") for one in rows}


def test_an_issued_file_is_named_with_its_evidence_and_nothing_moves(
    browser: Browser, kathleen: Marked
) -> None:
    """The purpose of the page."""
    with browser.view("/") as view:
        before = view.shifted
        view.drop("voice mail.flac", kathleen.data)
        assert view.verdict() == "issued_here"
        page = view.page
        assert page.inner_text("#verdict") == "Yes. This speech came from here."
        found = outcomes(view)
        assert found == {
            "watermark_keyed": "found",
            "watermark_public": "not_applicable",
            "fingerprint": "found",
            "registry": "found",
        }
        text = page.inner_text("#result")
        assert "A random clip would look like this less than once in 1,000,000." in text
        assert kathleen.content_id in text and "voice mail.flac" in text
        assert page.get_attribute(f'a[href="/log#{kathleen.generation_id}"]', "href")
        assert page.evaluate("document.activeElement.id") == "verdict"  # a screen reader goes on there
        assert page.query_selector(".peaks").get_attribute("d").count("M") == 240
        assert view.shifted - before < NO_SHIFT
        assert_clean(view, browser)


def test_a_span_is_played_and_only_the_span(browser: Browser, kathleen: Marked) -> None:
    with browser.view("/") as view:
        view.drop("a.flac", flac(kathleen.wav_T[: 4 * SAMPLE_RATE_HZ]))
        view.verdict()
        view.page.get_by_role("button", name="Play 0:00.0").first.press("Enter")
        view.page.wait_for_selector(".played[visibility=visible]", state="attached")
        view.page.get_by_role("button", name="Stop").wait_for()
        view.page.get_by_role("button", name="Play", exact=True).wait_for(
            timeout=10_000
        )  # it ended by itself
        assert_clean(view, browser)


def test_altered_pasted_and_unmarked_files_get_the_verdicts_of_the_service(
    browser: Browser, site: Site, kathleen: Marked
) -> None:
    """Whatever the service finds is what is shown; a pasted mark is not called issued here."""
    kerstin = site.mark("kerstin_1")
    stranger_T = decode(recording("eltocino")).wav_T
    sent = {
        "opus.ogg": encode(kathleen.wav_T, SAMPLE_RATE_HZ, "ogg", bit_rate=24_000),
        "spliced.flac": flac(np.concatenate([kathleen.wav_T[: 6 * SAMPLE_RATE_HZ], stranger_T])),
        "pasted.flac": flac(transplant(decode(recording("kathleen_2")).wav_T, kerstin, 3.0)),
        "stranger.flac": recording("eltocino"),
        "short.flac": flac(kathleen.wav_T[:7000]),
    }
    with browser.view("/") as view:
        shown = {}
        for name, data in sent.items():
            view.drop(name, data)
            shown[name] = view.verdict()
            answer = site.client.post("/v1/detections", content=data, headers={"Content-Type": "audio/flac"})
            assert shown[name] == answer.json()["verdict"], name
            assert view.page.inner_text(".verdict p >> nth=0") == answer.json()["verdict_reason"]
            view.page.click("#again")
        assert shown["opus.ogg"] == "issued_here"
        assert shown["spliced.flac"] == "issued_here_altered"
        assert shown["pasted.flac"] not in ("issued_here", "issued_here_altered")
        assert (shown["stranger.flac"], shown["short.flac"]) == ("not_detected", "inconclusive")
        assert_clean(view, browser)


def test_nothing_found_says_that_this_means_no_human(browser: Browser) -> None:
    with browser.view("/") as view:
        view.drop("stranger.flac", recording("eltocino"))
        assert view.verdict() == "not_detected"
        assert "does not mean that a human spoke" in view.page.inner_text("#verdict")


def test_a_link_is_fetched_by_the_server_and_drawn_without_sound(
    browser: Browser, site: Site, kathleen: Marked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Files, "answer_marked", lambda self, _: self.send(200, kathleen.data), raising=False)
    with files() as port, browser.view("/") as view:
        loopback = ipaddress.ip_address("127.0.0.1")
        policy = Policy(lambda address: address == loopback, frozenset({port}))
        strict, site.app.state.fetcher = site.app.state.fetcher, Fetcher(5.0, policy)
        try:
            view.page.fill("#url", f"http://127.0.0.1:{port}/marked")
            view.page.press("#url", "Enter")
            assert view.verdict() == "issued_here"
        finally:
            site.app.state.fetcher = strict
        assert view.page.query_selector(".peaks").get_attribute("d").count("M") == 240
        assert "does not have the sound" in view.page.inner_text("#result")
        assert_clean(view, browser)


def test_a_link_into_this_machine_is_refused_in_words(browser: Browser) -> None:
    with browser.view("/") as view:
        view.page.fill("#url", "http://127.0.0.1/secret")
        view.page.press("#url", "Enter")
        view.until("document.getElementById('intake-problem').textContent")
        assert "The link gives no file." in view.page.inner_text("#intake-problem")
        assert_clean(view, browser)


@pytest.mark.parametrize("name", ["empty", "html", "wav with NaN", "wav at 0 Hz", "ogg of nothing"])
def test_a_hostile_file_is_a_sentence_and_the_page_goes_on(
    browser: Browser, kathleen: Marked, name: str
) -> None:
    """Its name is hostile too: it must be shown as text."""
    with browser.view("/") as view:
        view.drop("<img src=x onerror=alert(1)>.wav", HOSTILE[name])
        view.until("document.getElementById('intake-problem').textContent")
        said = view.page.inner_text("#intake-problem")
        assert said.startswith("<img src=x onerror=alert(1)>.wav: ")
        assert view.page.query_selector("img[src=x]") is None
        view.drop("good.flac", kathleen.data)
        assert view.verdict() == "issued_here"
        assert_clean(view, browser)


def test_a_file_over_the_limit_is_refused_before_it_is_sent(browser: Browser) -> None:
    with browser.view("/") as view:
        view.drop("film.wav", bytes(2_000_001))
        assert "the limit is 2 MB" in view.page.inner_text("#intake-problem")
        assert not any("/v1/detections" in address for address in view.addresses)


def test_a_recording_from_the_microphone_is_judged(browser: Browser) -> None:
    """The fake microphone plays a person whom nobody marked."""
    with browser.view("/") as view:
        view.page.click("#record")
        view.until("document.getElementById('recorded').textContent >= '0:03.0'")
        view.page.click("#record")
        assert view.verdict() == "not_detected"
        assert "Your recording" in view.page.inner_text(".about")
        assert_clean(view, browser)


def test_a_key_gives_numbers_and_the_log_gives_error_rates(
    browser: Browser, site: Site, kathleen: Marked
) -> None:
    with browser.view("/") as view:
        view.drop("a.flac", kathleen.data)
        view.verdict()
        view.page.click("#expert > summary")
        rates = view.page.wait_for_selector(f"text=Real negatives, {Null.load().num_negatives:,}")
        shown = view.page.inner_text("#expert")
        assert rates and "this browser has checked" in shown
        for path in (READER, FINGERPRINT):
            measured = Measured.load(path)
            for one in measured.false_alarms:
                assert f"Counted in {one.num_negatives:,}: {one.of}" in shown
            for found in measured.found:
                assert f"{found.edit} {found.num_found}/{found.num_clips}" in shown
        view.page.fill("#exact-key", site.key)
        view.page.press("#exact-key", "Enter")
        view.page.wait_for_selector("text=about once in 10")
        stored = view.page.evaluate("JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie")
        assert site.key not in stored
        assert_clean(view, browser)


# signed results


def saved_result(view: View, data: bytes) -> str:
    view.drop("a.flac", data)
    view.verdict()
    with view.page.expect_download() as download:
        view.page.click("#save-result")
    return Path(download.value.path()).read_text()


def test_a_saved_result_is_checked_by_browser_and_server_and_compared_with_its_file(
    browser: Browser, kathleen: Marked, tmp_path: Path
) -> None:
    with browser.view("/") as view:
        text = saved_result(view, kathleen.data)
        view.page.click("#again")
        view.drop("result.json", text.encode())
        view.page.wait_for_selector("text=Genuine: signed by this service")
        box = view.page.inner_text("#recheck-result")
        assert "Checked by this browser with the key earmark/" in box and "The server says" in box
        for name, data, said in (
            ("a.flac", kathleen.data, "about this file"),
            ("b.flac", b"x", "another file"),
        ):
            path = tmp_path / name
            path.write_bytes(data)
            view.page.set_input_files("#recheck-result input[type=file]", path)
            view.page.wait_for_selector(f"text=It is {said if 'about' in said else 'about ' + said}")
        view.page.click("text=Show it")
        assert view.verdict() == "issued_here"
        assert_clean(view, browser)


def test_a_result_that_was_tampered_with_is_refused_by_browser_and_server(browser: Browser) -> None:
    """Each forgery is one that a reader would not see; both checks must see it, each on its own."""
    with browser.view("/") as view:
        text = saved_result(view, recording("eltocino"))
        good = json.loads(text)
        forged = {**good, "verdict": "issued_here"}
        later = {**good, "created_at": "2027-01-01T00:00:00Z"}
        unsigned = {**good, "signature": None}
        twice = '{"verdict":"issued_here",' + text[1:]
        for data in (json.dumps(forged), json.dumps(later), json.dumps(unsigned), twice, "[]", "no json"):
            view.page.goto("/")
            view.page.click("#recheck summary")
            view.page.fill("#recheck-text", data)
            view.page.click("#recheck-form button")
            view.page.wait_for_selector("text=Do not rely on it")
            passed = view.page.query_selector_all("#recheck-result .checks .tone-good")
            assert passed == [], data[:60]
        assert_clean(view, browser)

"""The page in a real browser: headless Chromium with a WAV file for a microphone.

They want ``pip install -r requirements-demo.txt playwright`` and Debian's package chromium. The variable DS2_PAGE_CHECKPOINT may
name a checkpoint that understands the embedded voice while it speaks; else one is trained for two minutes.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers import ROOT
from page.material import NO_MODEL, OF_TRAINING, at_hand

pytestmark = pytest.mark.browser
pytest.importorskip("gradio", reason="the page needs Gradio: pip install -r requirements-demo.txt")
playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by Playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("there is no Chromium: apt-get install chromium", allow_module_level=True)

WORDS = "hello little moon"
RECORD, STOP = "Record", "Stop"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """With runs/live/checkpoint.pt, a damaged one, and files to hear."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("live", "bad"):
        (folder / "runs" / name).mkdir(parents=True)
    checkpoint = folder / "runs" / "live" / "checkpoint.pt"
    if named := os.environ.get("DS2_PAGE_CHECKPOINT"):
        shutil.copyfile(named, checkpoint)
    else:
        import train_minimal

        flags = ["--forward-only", "--row-conv", "4", "--overwrite", "--output-dir", str(checkpoint.parent)]
        assert train_minimal.main(flags) == 0
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "runs" / "bad" / "checkpoint.pt").write_bytes(data)
    os.utime(folder / "runs" / "bad" / "checkpoint.pt", (1, 1))  # not the newest
    speech = at_hand(folder).utterances[0].audio(16000).numpy()
    quiet = np.random.default_rng(0).normal(0, 0.0003, (2, 8000))  # before and after
    soundfile.write(folder / "speech.wav", np.concatenate((quiet[0], speech, quiet[1])), 16000)
    soundfile.write(folder / "silence.wav", np.zeros(16000), 16000)
    soundfile.write(folder / "hour.flac", np.zeros(8000 * 3600), 8000)
    (folder / "text.wav").write_text("this is no audio")
    return folder


@pytest.fixture(scope="module")
def address(folder) -> Iterator[str]:
    command = [sys.executable, str(ROOT / "demo.py"), "--no-browser", "--port", "0"]
    process = subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
    said = process.stdout.readline()
    assert "for this computer only" in said
    address = next(word.rstrip(",") for word in said.split() if word.startswith("http"))
    for _ in range(60):  # the port is there before the page
        try:
            urllib.request.urlopen(address, timeout=60).read()
            break
        except OSError:
            continue
    yield address
    process.terminate()
    process.wait(timeout=30)


@pytest.fixture(scope="module")
def chromium(folder):
    spoken = f"--use-file-for-fake-audio-capture={folder / 'speech.wav'}%noloop"
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream", spoken]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, address):
    """The page once it shows the first utterance; afterwards it has asked nothing of another computer, and met no error."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, permissions=["microphone"])
    page, asked, errors = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.goto(address)
    page.locator("#result .text").wait_for(timeout=60_000)
    page.locator("#changed .text").wait_for(timeout=60_000)
    yield page
    context.close()
    assert [url for url in asked if not url.startswith((address, "data:", f"blob:{address}"))] == []
    assert errors == []


def text(page, place: str) -> str:
    return " ".join(page.locator(place).inner_text().split())


def wait_for(page, place: str, words: str) -> None:
    playwright.expect(page.locator(place)).to_contain_text(words, timeout=30_000)


def test_what_is_said_appears_while_it_is_said_and_after_it(page):
    page.get_by_role("button", name=RECORD).click()
    wait_for(page, ".recorder .text", WORDS)
    assert page.locator(".recorder .strip i").count() > 20
    page.get_by_role("button", name=STOP).click()
    wait_for(page, "#result .from", "your recording")
    found = text(page, "#result .text")
    assert WORDS in found  # a letter or two may be heard in the silence, which the voice of the training never leaves
    assert page.locator("#result .words span").all_inner_texts()[0].split()[0] == found.split()[0]
    assert text(page, "#nbest tbody tr:first-child td:first-child") == found


def test_a_refused_microphone_is_said_in_words(chromium, address):
    page = chromium.new_context().new_page()
    page.goto(address)
    page.get_by_role("button", name=RECORD).click()
    wait_for(page, ".recorder .note", "The browser may not use the microphone: allow it")
    page.context.close()


def test_all_of_it_goes_by_keyboard_and_has_a_name(page):
    page.get_by_role("button", name=RECORD).focus()
    page.keyboard.press("Enter")
    wait_for(page, ".recorder .text", "hello")
    page.keyboard.press("Enter")
    wait_for(page, "#result .from", "your recording")
    assert page.get_by_role("button", name=RECORD).evaluate("it => it === document.activeElement")
    named = "it.ariaLabel || it.title || it.innerText || it.labels?.length"
    nameless = f"them => them.filter(it => it.offsetParent && !({named})).length"
    assert page.locator("input, select, button, [tabindex='0']").evaluate_all(nameless) == 0
    noise = page.locator("input[type=range][aria-label*='noise']")
    noise.focus()
    for _ in range(45):
        page.keyboard.press("ArrowLeft")
    wait_for(page, "#changed", "The text changes")
    alpha = page.locator("input[type=range][aria-label*='Alpha']")
    before = text(page, "#nbest tbody")
    alpha.focus()
    page.keyboard.press("ArrowRight")
    wait_for(page, "#nbest tbody", "0.35 ×")
    assert text(page, "#nbest tbody") != before


def test_without_a_language_model_its_weights_cannot_be_moved(page):
    alpha = page.locator("input[type=range][aria-label*='Alpha']")
    playwright.expect(alpha).to_be_enabled()
    page.get_by_role("combobox", name="Language model").click()
    page.get_by_role("option", name=NO_MODEL).click()
    playwright.expect(alpha).to_be_disabled(timeout=30_000)
    page.get_by_role("combobox", name="Language model").click()
    page.get_by_role("option", name=OF_TRAINING).click()
    playwright.expect(alpha).to_be_enabled(timeout=30_000)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("text.wav", "text.wav: cannot be read as audio"),
        ("hour.flac", "hour.flac: lasts 60.0 minutes, but this page shows one at most"),
        ("silence.wav", "no speech found: it is silent"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(page, folder, name, sentence):
    page.get_by_role("tab", name="File").click()
    page.locator("input[type=file]").set_input_files(folder / name)
    wait_for(page, "#result", sentence)


def test_a_damaged_checkpoint_is_named_and_the_old_one_stays(page):
    page.get_by_label("Checkpoint").click()
    page.get_by_role("option", name="runs/bad/checkpoint.pt").click()
    wait_for(page, "[role=alert] >> nth=0", "runs/bad/checkpoint.pt")
    assert text(page, "#result .text") == WORDS


def test_on_a_telephone_nothing_is_cut_off(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.get_by_role("tab", name="Recorded").is_visible()


def test_only_this_computer_is_answered_and_the_policy_says_so(address):
    with urllib.request.urlopen(address) as answer:
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    with pytest.raises(OSError, match="400"):
        urllib.request.urlopen(urllib.request.Request(address, headers={"Host": "elsewhere.example"}))


def test_a_port_that_is_taken_is_said(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, str(ROOT / "demo.py"), "--no-browser", "--port", port]
        done = subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 2 and f"port {port} is not free" in done.stderr and "Traceback" not in done.stderr

"""The page in a real browser: headless Chromium with a WAV file for a microphone, and the model that comes with the project.

They want ``pip install -r requirements-demo.txt playwright`` and Debian's package chromium.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

import demo
import export
from helpers import ROOT
from page.material import COMMANDS, NO_MODEL, OF_TRAINING

pytestmark = pytest.mark.browser
pytest.importorskip("gradio", reason="the page needs Gradio: pip install -r requirements-demo.txt")
playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by Playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("there is no Chromium: apt-get install chromium", allow_module_level=True)

WORDS = "yes yes"
RECORD, STOP = "Record", "Stop"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """With models/commands_en.pt, a damaged checkpoint, an ONNX file if it can be written, and files to hear."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("models", "runs/bad"):
        (folder / name).mkdir(parents=True)
    for path in (COMMANDS, COMMANDS.with_name("yes.wav")):
        shutil.copyfile(ROOT / path, folder / path)
    data = bytearray((folder / COMMANDS).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "runs" / "bad" / "checkpoint.pt").write_bytes(data)
    if find_spec("onnx") and find_spec("onnxruntime"):
        export.main([str(folder / COMMANDS), "-o", str(folder / COMMANDS.with_suffix(".onnx")), "--stream"])
    speech, rate = soundfile.read(folder / COMMANDS.with_name("yes.wav"))
    quiet = np.random.default_rng(0).normal(0, 0.0003, rate // 2)
    soundfile.write(folder / "speech.wav", np.concatenate((quiet, speech, quiet, speech, quiet)), rate)
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
    assert text(page, "#result .text") == WORDS
    assert [span.split()[0] for span in page.locator("#result .words span").all_inner_texts()] == WORDS.split()
    assert text(page, "#nbest tbody tr:first-child td:first-child") == WORDS
    assert text(page, ".recorder .text") == ""  # the result stands below


def test_an_exported_model_writes_while_it_is_said_too(page, folder):
    if not (folder / COMMANDS.with_suffix(".onnx")).exists():
        pytest.skip("onnx or onnxruntime is not installed: pip install -r requirements-export.txt")
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name=str(COMMANDS.with_suffix(".onnx"))).click()
    wait_for(page, "#about", "An ONNX file with 29 symbols")
    wait_for(page, "#result .text", "yes")
    page.get_by_role("button", name=RECORD).click()
    wait_for(page, ".recorder .text", WORDS)
    page.get_by_role("button", name=STOP).click()
    wait_for(page, "#result .from", "your recording")
    assert text(page, "#result .text") == WORDS


def test_a_refused_microphone_is_said_in_words(chromium, address):
    page = chromium.new_context().new_page()
    page.goto(address)
    page.get_by_role("button", name=RECORD).click()
    wait_for(page, ".recorder .note", "The browser is not allowed to use the microphone: allow it")
    page.context.close()


def test_all_of_it_goes_by_keyboard_and_has_a_name(page):
    page.get_by_role("button", name=RECORD).focus()
    page.keyboard.press("Enter")
    wait_for(page, ".recorder .text", "yes")
    page.keyboard.press("Enter")
    wait_for(page, "#result .from", "your recording")
    assert page.get_by_role("button", name=RECORD).evaluate("it => it === document.activeElement")
    named = "it.ariaLabel || it.title || it.innerText || it.labels?.length"
    nameless = f"them => them.filter(it => it.offsetParent && !({named})).length"
    assert page.locator("input, select, button, [tabindex='0']").evaluate_all(nameless) == 0
    assert page.locator(".scroll[tabindex='0'][aria-label]").count() == 3
    page.locator("input[type=range][aria-label*='Speed']").focus()
    page.keyboard.press("Home")
    wait_for(page, "#changed", "The text changes")
    alpha = page.locator("input[type=range][aria-label*='Alpha']")
    before = text(page, "#nbest tbody")
    alpha.focus()
    page.keyboard.press("ArrowRight")
    wait_for(page, "#nbest tbody", "0.05 ×")
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
        ("speech.wav", WORDS),
    ],
)
def test_a_file_is_transcribed_or_what_is_wrong_with_it_is_said(page, folder, name, sentence):
    page.get_by_role("tab", name="File").click()
    page.locator("input[type=file]").set_input_files(folder / name)
    wait_for(page, "#result", sentence)


def test_a_damaged_checkpoint_is_named_and_the_old_one_stays(page):
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name="runs/bad/checkpoint.pt").click()
    wait_for(page, "[role=alert] >> nth=0", "runs/bad/checkpoint.pt")
    assert text(page, "#result .text") == "yes"


def test_on_a_telephone_nothing_is_cut_off(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.get_by_role("tab", name="Recorded").is_visible()
    assert page.locator("#result .scroll").evaluate("it => { it.scrollLeft = 999; return it.scrollLeft; }") > 0


def test_only_this_computer_is_answered_and_the_policy_says_so(address):
    with urllib.request.urlopen(address) as answer:
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    with pytest.raises(OSError, match="400"):
        urllib.request.urlopen(urllib.request.Request(address, headers={"Host": "elsewhere.example"}))


def test_a_port_that_is_taken_is_said(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert demo.main(["--no-browser", "--port", port]) == 2
    assert f"port {port} is not free" in capsys.readouterr().err

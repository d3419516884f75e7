"""Measures how long after the end of a word its text appears on the page of demo.py, in a real browser."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import machine

from implementation import generate_synthetic_audio
from models.checkpoints import load_checkpoint
from speech.corpora import Corpus, read_corpus
from speech.datasets import read_utterance

ROOT = Path(__file__).resolve().parents[1]
RATE, GAP = 16000, 0.8  # Hz; seconds of near silence between two words
QUIET, LASTING = 0.02, 300  # a word has ended when the sound stays below this level (1: full scale) for this many milliseconds
# In the page: listens to the microphone too, and notes when each word ended and when the text changed.
WATCH = """
const given = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
window.ends = []; window.texts = [];
navigator.mediaDevices.getUserMedia = async (wanted) => {
  const stream = await given(wanted), context = new AudioContext(), analyser = context.createAnalyser();
  analyser.fftSize = 256; // 5 ms
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(256);
  let loud = 0;
  setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const now = performance.now();
    if (Math.max(...samples.map(Math.abs)) > QUIET) loud = now;
    else if (loud && now - loud > LASTING) { window.ends.push(loud); loud = 0; }
  }, 5);
  const text = document.querySelector(".recorder .text");
  new MutationObserver(() => window.texts.push([performance.now(), text.innerText])).observe(
    text, {subtree: true, childList: true, characterData: true});
  return stream;
};
"""


def spoken(words: list[str], speaker: int) -> np.ndarray:
    """The words with a gap after each, at the rate RATE."""
    rng, parts = np.random.default_rng(0), []
    for word in ["", *words]:
        if word:
            parts.append(generate_synthetic_audio(word, RATE, speaker, snr_db=40.0).numpy())
        parts.append(rng.normal(0, 0.0003, round(GAP * RATE)))
    return np.concatenate(parts)


def recorded(words: list[str], corpus: Corpus, number: int) -> np.ndarray:
    """The same words by people: for each, one clip of the test set, drawn from those that begin and end in near silence."""
    rng, parts = np.random.default_rng(number), [np.zeros(round(GAP * RATE))]
    utterances, edge = corpus.split("test"), RATE // 20
    for word in words:
        takes = [u for u in utterances if u.transcript == word]
        for place in rng.permutation(len(takes)):
            clip = read_utterance(takes[place], RATE).numpy()
            clip = 0.5 * clip / np.abs(clip).max()
            if max(np.abs(clip[:edge]).max(), np.abs(clip[-edge:]).max()) < QUIET / 2:
                break
        else:
            raise ValueError(f"no clip of {word!r} begins and ends in near silence")
        parts += [clip, rng.normal(0, 0.0003, round(GAP * RATE))]
    return np.concatenate(parts)


def heard_in_browser(address: str, wav: Path, seconds: float) -> tuple[list[float], list[tuple[float, str]]]:
    """When the words ended, and the texts that the page showed, each with its time; in milliseconds on one clock."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    flags.append(f"--use-file-for-fake-audio-capture={wav}%noloop")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=flags)
        page = chromium.new_context(permissions=["microphone"]).new_page()
        page.add_init_script(WATCH.replace("QUIET", str(QUIET)).replace("LASTING", str(LASTING)))
        page.goto(address)
        page.locator("#changed .text").wait_for(timeout=60_000)
        page.get_by_role("button", name="Record").click()
        page.wait_for_timeout(1000 * seconds + 1500)
        ends, texts = page.evaluate("[window.ends, window.texts]")
        chromium.close()
    return ends, [(at, text) for at, text in texts]


def waits(words: list[str], ends: list[float], texts: list[tuple[float, str]]) -> list[float]:
    """For each word that stays at its place in the text, the milliseconds from the word's end until it first stood there."""
    if len(ends) != len(words) or not texts:
        return []  # WATCH took a pause within a word for its end, or the computer stalled
    found, last = [], texts[-1][1].split()
    for place, (word, end) in enumerate(zip(words, ends, strict=True)):
        if last[place : place + 1] == [word]:
            found.append(next(at for at, text in texts if text.split()[place : place + 1] == [word]) - end)
    return found


@contextmanager
def served(checkpoint: Path) -> Iterator[str]:
    """Serves the page, yields its address, and stops it afterwards."""
    command = [sys.executable, str(ROOT / "demo.py"), str(checkpoint), "--no-browser", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://[\d.:]+", server.stdout.readline())[0]
        urllib.request.urlopen(address, timeout=120).read()
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint of a forward-only model that understands what is spoken")
    parser.add_argument("--data", type=Path, help="corpus of single words; its test clips replace the synthetic voice")
    parser.add_argument("--words", default="hello moon little book way", help="words that are spoken one by one")
    parser.add_argument("--rounds", type=int, default=4, help="rounds, each with another voice or other clips")
    args = parser.parse_args()
    words, model = args.words.split(), load_checkpoint(args.checkpoint).model
    corpus = read_corpus(args.data) if args.data else None
    print(machine("torch", "gradio", threads=1))
    lookahead = 0 if model.row_convolution is None else model.row_convolution.lookahead
    print(f"an output frame lasts {1000 * model.seconds_per_output:g} ms; the row convolution waits for {lookahead} of them")
    torch.manual_seed(0)
    np.random.seed(0)
    found, count = [], 0
    with tempfile.TemporaryDirectory() as folder, served(args.checkpoint) as address:
        for number in range(args.rounds):
            sound = recorded(words, corpus, number) if corpus else spoken(words, 510 + number)
            wav = Path(folder) / f"{number}.wav"
            soundfile.write(wav, sound, RATE)
            ends, texts = heard_in_browser(address, wav, len(sound) / RATE)
            mine = waits(words, ends, texts)
            found, count = found + mine, count + len(words)
            last = texts[-1][1] if texts else "nothing"
            shown = " ".join(f"{wait:.0f}" for wait in mine)
            print(f"round {number}: {len(ends)} ends of {len(words)} words, {shown} ms; the page wrote: {last}")
    median, ninth = (float(np.quantile(found, q)) for q in (0.5, 0.9)) if found else (np.nan, np.nan)
    print(f"from the end of a word to its text: median {median:.0f} ms, nine of ten within {ninth:.0f} ms; "
          f"{len(found)} of {count} words were understood")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())

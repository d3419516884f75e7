"""recipes/: the manifests of the results, made from the layout of the public downloads."""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers import DATA, RATE, manifest, needs_digits
from recipes import aishell_zh, cmn_words, coffee_orders, digits, dsp20_zh, joined, speech_commands
from recipes.manifest import piece_start, read_list
from speech.audio import read_audio
from speech.corpora import read_corpus

LABELS = {  # of a drink order by the words it has, as data/label/label.json writes them
    "can i get a triple shot light roast iced coffee": {
        "coffeeDrink": "iced coffee", "numberOfShots": "triple shot", "roast": "light roast",
    },
    "i'd like a single shot mocha with soy milk": {
        "coffeeDrink": "mocha", "milkAmount": " soy milk", "numberOfShots": "single shot",
    },
}  # fmt: skip
SPLITS = ("train", "dev", "test")
needs_orders = pytest.mark.skipif(not (DATA / "barista_en").is_dir(), reason="no real speech at ../shared/data")


def table(file: Path) -> list[dict[str, str]]:
    """Lines of a manifest by the names of its columns."""
    header, *rows = (line.split("\t") for line in file.read_text(encoding="utf-8").splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


def told(rows: list[dict[str, str]], stem=lambda path: Path(path).stem) -> list[tuple[str, ...]]:
    return [(stem(row["path"]), row["transcript"], row["speaker"], row["split"]) for row in rows]


def errors_of(main, clone: Path, capsys) -> str:
    assert main([str(clone)]) == 2
    return capsys.readouterr().err


# Digits


def clone_of_digits(folder: Path) -> Path:
    """Empty files under the names of all six speakers."""
    (folder / "recordings").mkdir()
    for speaker in (*digits.SPEAKERS, "theo"):
        for digit in range(10):
            for take in range(50):
                (folder / "recordings" / f"{digit}_{speaker}_{take}.wav").touch()
    return folder


def test_digits_are_split_by_take_and_one_speaker_is_kept_out(tmp_path, capsys):
    clone = clone_of_digits(tmp_path)
    assert digits.main([str(clone)]) == 0
    assert (
        capsys.readouterr().out == f"{clone / 'manifest.tsv'}: 2500 utterances, 200 dev, 200 test, 500 test_unseen, 1600 train\n"
    )
    rows = {row["path"]: row for row in table(clone / "manifest.tsv")}
    assert not any("theo" in path for path in rows)
    for name, speaker, split, text in (
        ("7_jackson_4", "jackson", "test", "seven"), ("0_lucas_5", "lucas", "dev", "zero"),
        ("9_george_9", "george", "dev", "nine"), ("3_yweweler_10", "yweweler", "train", "three"),
        ("1_nicolas_0", "nicolas", "test_unseen", "one"), ("1_nicolas_49", "nicolas", "test_unseen", "one"),
    ):  # fmt: skip
        path = f"recordings/{name}.wav"
        assert rows[path] == {"path": path, "speaker": speaker, "split": split, "transcript": text}


def test_the_manifest_is_read_in_place_of_the_clones_own_layout(tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "TAKES", 6)
    clone = clone_of_digits(tmp_path)
    for file in clone.glob("recordings/*.wav"):
        soundfile.write(file, np.zeros(80), RATE)
    assert digits.main([str(clone)]) == 0
    corpus = read_corpus(clone)
    assert corpus.kind == "manifest" and corpus.splits == {"test": 200, "dev": 40, "test_unseen": 60} and not corpus.problems


def test_missing_takes_are_one_sentence(tmp_path, capsys):
    (clone_of_digits(tmp_path) / "recordings" / "4_lucas_17.wav").unlink()
    error = errors_of(digits.main, tmp_path, capsys)
    assert "1 of the 2500 takes used are missing, such as 4_lucas_17.wav" in error and error.count("\n") == 1
    assert not (tmp_path / "manifest.tsv").exists()
    assert "2500 of the 2500" in errors_of(digits.main, tmp_path / "nowhere", capsys)


def test_another_manifest_is_not_replaced(tmp_path, capsys):
    clone = clone_of_digits(tmp_path)
    assert digits.main([str(clone)]) == digits.main([str(clone)]) == 0  # the same once more
    (clone / "manifest.tsv").write_text("mine\n", encoding="utf-8")
    assert "exists and holds something else" in errors_of(digits.main, clone, capsys)
    assert (clone / "manifest.tsv").read_text(encoding="utf-8") == "mine\n"


@needs_digits
def test_the_digits_are_those_of_the_results(tmp_path):
    (tmp_path / "recordings").mkdir()
    measured = table(DATA / "fsdd" / "manifest.tsv")
    for row in measured:
        (tmp_path / "recordings" / f"{Path(row['path']).stem}.wav").touch()
    assert digits.main([str(tmp_path)]) == 0
    assert told(table(tmp_path / "manifest.tsv")) == told(measured)


# Coffee orders


def write_clip(clone: Path, clip: str, before: np.ndarray, piece: np.ndarray, after: np.ndarray) -> str:
    """A clip that holds the piece; its name."""
    name = f"{clip}-a01d-453e-9b89-dc6e6d31d362.wav"
    (clone / "data" / "speech" / "clean").mkdir(parents=True, exist_ok=True)
    soundfile.write(clone / "data" / "speech" / "clean" / name, np.concatenate([before, piece, after]), 16000)
    return name


def write_labels(clone: Path, slots: dict[str, dict[str, str]]) -> None:
    (clone / "data" / "label").mkdir(parents=True, exist_ok=True)
    labels = {name: {"intent": "orderDrink", "slots": one} for name, one in slots.items()}
    (clone / "data" / "label" / "label.json").write_text(json.dumps(labels), encoding="utf-8")


@pytest.fixture
def coffee(tmp_path, monkeypatch):
    """A clone with two orders, a list of them, and a third clip that is not used."""
    rng, slots, lines = np.random.default_rng(0), {}, ["# a comment", "clip\tvoice\tsamples\thead\tphrase"]
    phrases = ("can i get a SHOTS ROAST DRINK", "i'd like a SHOTS DRINK with MILK")
    clips = zip(("0aaaaaaa", "0bbbbbbb"), ("v02", "v14"), phrases, LABELS.values(), (0, 777), strict=True)
    for clip, voice, phrase, label, start in clips:
        before, piece, after = (rng.integers(-9, 9, n).astype(np.int16) for n in (start, 4000, 300))
        slots[write_clip(tmp_path, clip, before, piece, after)] = label
        lines.append(f"{clip}\t{voice}\t4000\t{zlib.crc32(piece[:1600].tobytes()):08x}\t{phrase}")
    slots[write_clip(tmp_path, "0ccccccc", before, piece, after)] = {"coffeeDrink": "latte"}
    write_labels(tmp_path, slots)
    listed = tmp_path / "list.tsv"
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    orders = coffee_orders.orders(listed)
    monkeypatch.setattr(coffee_orders, "orders", lambda: orders)
    return tmp_path


def test_orders_have_the_words_of_labels_and_list_and_the_piece_of_the_clip(coffee, capsys):
    assert coffee_orders.main([str(coffee)]) == 0
    assert capsys.readouterr().out == f"{coffee / 'manifest.tsv'}: 2 utterances, 1 test, 1 train\n"
    rows = table(coffee / "manifest.tsv")
    assert told(rows, lambda path: Path(path).name[:8]) == [
        ("0aaaaaaa", "can i get a triple shot light roast iced coffee", "v02", "train"),
        ("0bbbbbbb", "i'd like a single shot mocha with soy milk", "v14", "test"),
    ]
    assert [(row["offset"], row["duration"]) for row in rows] == [("0.0000000", "0.2500000"), ("0.0485625", "0.2500000")]
    corpus = read_corpus(coffee / "manifest.tsv")
    assert not corpus.problems and [round(u.start * 16000) for u in corpus.utterances] == [0, 777]


def test_a_clip_without_the_piece_is_taken_whole_and_told(coffee, capsys):
    clip = next(coffee.glob("data/speech/clean/0bbb*"))
    audio, _ = soundfile.read(clip, dtype="int16")
    soundfile.write(clip, np.zeros(4500), 16000)
    assert coffee_orders.main([str(coffee)]) == 0
    assert "note: 1 of the 2 clips do not hold the piece" in capsys.readouterr().out
    assert [(row["offset"], row["duration"]) for row in table(coffee / "manifest.tsv")][1] == ("", "")
    assert not read_corpus(coffee / "manifest.tsv").problems
    soundfile.write(clip, audio, 8000)  # the same numbers at another rate
    order = coffee_orders.orders()[1]
    assert piece_start(clip, order.samples, order.head) is None


def test_what_lacks_of_the_coffee_clone_is_one_sentence(coffee, capsys):
    def error():
        text = errors_of(coffee_orders.main, coffee, capsys)
        assert text.count("\n") == 1 and not (coffee / "manifest.tsv").exists()
        return text

    clip = next(coffee.glob("data/speech/clean/0bbb*"))
    write_labels(coffee, {file.name: {"coffeeDrink": "latte"} for file in clip.parent.iterdir()})
    assert "0aaaaaaa-a01d-453e-9b89-dc6e6d31d362.wav has no 'numberOfShots'" in error()
    write_labels(coffee, {})
    assert "has no '0aaaaaaa-" in error()
    clip.unlink()
    assert "1 of the 2 clips used are missing, such as 0bbbbbbb-*.wav" in error()
    (coffee / "data" / "label" / "label.json").write_text("[]", encoding="utf-8")
    assert "can't be read as the labels" in error()
    (coffee / "data" / "label" / "label.json").unlink()
    assert "can't be read as the labels" in error()


def test_the_list_names_each_clip_once_and_splits_by_voice():
    listed = coffee_orders.orders()
    assert len(listed) == len({order.clip for order in listed}) == 562
    assert [order.clip for order in listed] == sorted(order.clip for order in listed)
    splits = [order.split for order in listed]
    assert {name: splits.count(name) for name in set(splits)} == {"train": 462, "dev": 47, "test": 53}
    slots = coffee_orders.SLOTS.keys()
    assert all(set(filter(str.isupper, order.phrase.split())) <= slots for order in listed)


def slots_of(phrase: str, text: str) -> dict[str, str]:
    """The label from which a text was made: what stands in its slots."""
    pattern = re.sub("[A-Z]+", lambda slot: f"(?P<{slot[0]}>{WORDS[slot[0]]})", phrase)
    found = re.fullmatch(pattern, text)
    assert found, (phrase, text)
    return {coffee_orders.SLOTS[slot]: f" {words}" for slot, words in found.groupdict().items()}


WORDS = {  # of the data set's grammar, data/rhino/coffee_maker.yaml
    "DRINK": "americano|cappuccino|espresso|latte|(iced )?mocha|((drip|house|iced) )?coffee",
    "SIZE": "small|medium|large|(eight|twelve|sixteen|twenty) ounce",
    "ROAST": "(light|medium|dark) roast",
    "SHOTS": "(single|double|triple) shot",
    "MILK": "((a little bit of|a bit of|some|a lot of|lots of) )?(((skim|whole|soy|almond) )?milk|cream)",
    "SUGAR": "((a little bit of|a bit of|some|a lot of|lots of) )?((brown )?sugar|sweetener)",
}


@needs_orders
def test_the_orders_are_those_of_the_results(tmp_path, capsys):
    measured, listed, labels = table(DATA / "barista_en" / "manifest.tsv"), coffee_orders.orders(), {}
    rng = np.random.default_rng(0)
    for order, row in zip(listed, measured, strict=True):
        audio, _ = soundfile.read(DATA / "barista_en" / row["path"], dtype="int16")
        before, after = (rng.integers(-9, 9, rng.integers(0, 3000)).astype(np.int16) for _ in range(2))
        name = write_clip(tmp_path, order.clip, before, audio, after)
        labels[name] = slots_of(order.phrase, row["transcript"])
    write_labels(tmp_path, labels)
    assert coffee_orders.main([str(tmp_path)]) == 0
    assert "note" not in capsys.readouterr().out
    made = table(tmp_path / "manifest.tsv")
    assert told(made, lambda path: Path(path).name[:8]) == told(measured)
    pieces, clips = read_corpus(tmp_path), read_corpus(DATA / "barista_en")
    assert not pieces.problems and len(pieces.utterances) == len(clips.utterances) == 562
    for piece, clip in list(zip(pieces.utterances, clips.utterances, strict=True))[::40]:
        heard = read_audio(piece.path, 16000, piece.start, piece.seconds)
        assert np.array_equal(heard, read_audio(clip.path, 16000))


# Mandarin


@pytest.fixture
def dsp20(tmp_path, monkeypatch):
    """A clone with takes of two words by three speakers, a list with pieces of two of them, and an English word."""
    rng, lines = np.random.default_rng(0), ["speaker\tword\ttake\tsamples\thead"]
    for name, speaker in (("111", "s02"), ("222", "s07"), ("333", "")):
        (tmp_path / "speech_data" / name).mkdir(parents=True)
        for word, take, start in ((0, 1, 320), (10, 15, 0), (12, 1, 0)):
            audio = rng.integers(-9, 9, 5000).astype(np.int16)
            soundfile.write(tmp_path / "speech_data" / name / f"{name}-{word:02}-{take:02}.wav", audio, 16000)
            if speaker and word != 12:
                lines.append(f"{speaker}\t{word:02}\t{take:02}\t4000\t{zlib.crc32(audio[start : start + 1600].tobytes()):08x}")
    listed = tmp_path / "list.tsv"
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = dsp20_zh.pieces(listed)
    monkeypatch.setattr(dsp20_zh, "pieces", lambda: found)
    return tmp_path


def test_speakers_are_known_by_their_recordings_and_pieces_are_found(dsp20, capsys):
    assert dsp20_zh.main([str(dsp20)]) == 0
    assert "4 utterances, 2 dev, 2 train" in capsys.readouterr().out
    rows = table(dsp20 / "manifest.tsv")
    assert told(rows) == [
        ("111-00-01", "数字", "s02", "train"), ("111-10-15", "复旦", "s02", "train"),
        ("222-00-01", "数字", "s07", "dev"), ("222-10-15", "复旦", "s07", "dev"),
    ]  # fmt: skip
    assert [(row["offset"], row["pinyin"]) for row in rows][:2] == [("0.0200000", "shu4 zi4"), ("0.0000000", "fu4 dan4")]
    assert not read_corpus(dsp20).problems


def test_all_takes_every_recording_of_the_chinese_words(dsp20, capsys):
    assert dsp20_zh.main([str(dsp20), "--all"]) == 0
    assert [row["split"] for row in table(dsp20 / "manifest.tsv")] == ["test", "test", "dev", "dev", "train", "train"]


def test_what_lacks_of_a_clone_of_dsp20_is_one_sentence(dsp20, capsys):
    def error(*flags):
        assert dsp20_zh.main([str(dsp20), *flags]) == 2 and not (dsp20 / "manifest.tsv").exists()
        return capsys.readouterr().err

    (dsp20 / "speech_data/222/222-10-15.wav").unlink()
    assert "take 15 of word 10 by 222 is missing" in error()
    soundfile.write(dsp20 / "speech_data/222/222-00-01.wav", np.zeros(5000), 16000)
    assert "1 of the listed speakers are not recognised by their recordings, such as s07: the audio differs" in error()
    for file in dsp20.rglob("*.wav"):
        file.unlink()
    assert "there are no recordings such as speech_data/SPEAKER/SPEAKER-00-01.wav" in error("--all")


@pytest.mark.parametrize("recipe", [cmn_words, aishell_zh])
def test_listed_recordings_are_taken_and_a_missing_one_is_one_sentence(recipe, tmp_path, capsys):
    for name, *_ in read_list(recipe.LIST):
        path = f"96k/hsk/cmn-{name}.mp3" if recipe is cmn_words else f"wav/train/{name[6:11]}/{name}.wav"
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert recipe.main([str(tmp_path)]) == 0
    first = table(tmp_path / "manifest.tsv")[0]
    expected = (
        ("yue_tan", "我", "wo3") if recipe is cmn_words else ("S0150", "有个倍数有一个临界值", "you3 ge4 bei4 shu4 you3 yi2")
    )
    assert (first["speaker"], first["transcript"]) == expected[:2] and first["pinyin"].startswith(expected[2])
    (tmp_path / "manifest.tsv").unlink()
    (tmp_path / first["path"]).unlink()
    error = errors_of(recipe.main, tmp_path, capsys)
    assert f"1 of the {952 if recipe is cmn_words else 360} " in error and first["path"].split("/")[-1] in error


@pytest.mark.parametrize(("recipe", "of"), [(cmn_words, {"train": 793, "dev": 60, "test": 99}),
                                            (aishell_zh, {"train": 270, "dev": 36, "test": 54})])  # fmt: skip
def test_the_listed_mandarin_is_that_of_the_results(recipe, of):
    listed = read_list(recipe.LIST)
    assert Counter(row[1] for row in listed) == of and len({row[0] for row in listed}) == len(listed)
    columns = ("transcript", "split", "pinyin") if recipe is cmn_words else ("split", "transcript", "pinyin")
    measured = DATA / recipe.LIST.stem / "manifest.tsv"
    if measured.is_file():
        assert [row[-3:] for row in listed] == [[row[column] for column in columns] for row in table(measured)]


@pytest.mark.skipif(not (DATA / "dsp20_zh").is_dir(), reason="no real speech at ../shared/data")
def test_the_words_of_dsp20_are_those_of_the_results(tmp_path, capsys):
    measured = table(DATA / "dsp20_zh" / "manifest.tsv")
    of_two = [row for row in measured if row["speaker"] in ("s01", "s34")]
    for row in of_two:
        audio, _ = soundfile.read(DATA / "dsp20_zh" / row["path"], dtype="int16")
        speaker, word, take = Path(row["path"]).stem.split("_")
        (tmp_path / f"name{speaker}").mkdir(exist_ok=True)
        before = np.zeros(160 * int(take), np.int16)
        soundfile.write(tmp_path / f"name{speaker}" / f"name{speaker}-{word}-{take}.wav", np.concatenate([before, audio]), 16000)
    listed = dsp20_zh.pieces()
    assert [(piece.speaker, piece.split, dsp20_zh.WORDS[piece.word]) for piece in listed] == [
        (row["speaker"], row["split"], (row["transcript"], row["pinyin"])) for row in measured
    ]
    rows = dsp20_zh.listed_rows(tmp_path, [piece for piece in listed if piece.speaker in ("s01", "s34")])
    assert [(row[1], float(row[3]), f"{float(row[4]):.3f}") for row in rows] == [
        (row["speaker"], int(Path(row["path"]).stem[-2:]) / 100, row["seconds"]) for row in of_two
    ]


# Spoken commands


@pytest.mark.skipif(not (DATA / "speech_commands").is_dir(), reason="no real speech at ../shared/data")
def test_the_commands_are_those_of_the_results(tmp_path, capsys):
    measured = table(DATA / "speech_commands" / "manifest.tsv")
    clips = [(row["transcript"], *Path(row["path"]).stem.split("_")[1:]) for row in measured]
    for word, voice, number in clips:
        (tmp_path / word).mkdir(exist_ok=True)
        (tmp_path / word / f"{voice}_nohash_{number}.wav").touch()
    assert speech_commands.main([str(tmp_path)]) == 0
    found = told(table(tmp_path / "manifest.tsv"), lambda path: path.replace("_nohash", "").replace("/", "_"))
    assert sorted(found) == sorted((f"{stem}.wav", *rest) for stem, *rest in told(measured))


def test_missing_commands_are_told_and_many_are_refused(tmp_path, capsys):
    assert "4157 of the 4157 clips used are missing" in errors_of(speech_commands.main, tmp_path, capsys)
    for path, *_ in speech_commands.command_rows()[1:]:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    assert speech_commands.main([str(tmp_path)]) == 0
    assert "note: 1 of the 4157 clips used are missing" in capsys.readouterr().out


# Several corpora


def test_corpora_are_joined_where_they_lie_and_each_keeps_its_tests(tmp_path, capsys):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    header = "path\ttranscript\tspeaker\tsplit"
    lines = [f"{name}.wav\tup\tann\t{split}" for name, split in zip("abc", SPLITS, strict=True)]
    manifest(tmp_path / "one", "\n".join([header, *lines]) + "\n")
    pieces = [line + times for line, times in zip(lines, ("\t0.02\t0.08", "\t\t", "\t\t"), strict=True)]
    manifest(tmp_path / "two", "\n".join([header + "\tstart\tend", *pieces]) + "\n")
    folders = [str(tmp_path / name) for name in ("both", "one", "two")]
    assert joined.main(folders) == 0
    assert "6 utterances, 1 dev, 1 dev_two, 1 test, 1 test_two, 2 train" in capsys.readouterr().out
    both = read_corpus(tmp_path / "both")
    assert not both.problems and both.dev_split() == "dev" and both.splits_for("test") == ["test", "test_two"]
    assert {u.path.resolve() for u in both.utterances} == {tmp_path / a / f"{b}.wav" for a in ("one", "two") for b in "abc"}
    assert {u.speaker for u in both.utterances} == {"one/ann", "two/ann"}
    pieces = [(u.start, round(u.stop, 6)) for u in both.utterances if u.is_piece]
    assert pieces == [(0.02, 0.08)] and len({round(u.seconds, 6) for u in both.utterances if not u.is_piece}) == 1
    (tmp_path / "x" / "one").mkdir(parents=True)
    with pytest.raises(SystemExit):
        joined.main([*folders[:2], str(tmp_path / "x" / "one")])
    assert "have the same name" in capsys.readouterr().err

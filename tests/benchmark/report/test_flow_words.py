"""The flow in words: every count of every box, once."""

from benchmark.analysis.flow import Box, Counts, LeftOut
from benchmark.report.flow_words import TITLES, flow_lines, grouped, lost, of_images, of_patients, reasons_of
from tests.benchmark.report.flows import DRAWN, FOLDER

THIN, HARD = "\N{NARROW NO-BREAK SPACE}", "\N{NO-BREAK SPACE}"


def plain(text):
    return text.replace(THIN, ",").replace(HARD, " ")


def test_every_box_is_one_line():
    lines = [(line.depth, line.title, plain(line.content)) for line in flow_lines(FOLDER)]
    assert lines[:5] == [
        (0, "Files in the folder", "4,300 files"),
        (1, "Files left out", "40 files (with the ending .txt: 38, hidden: 2)"),
        (1, "Images listed", "4,260 images (1,618 positive) of 2,125 patients (810 positive)"),
        (2, "Unusable images", "26 images (6 positive); 5 patients without another image (no such file: 15, "
         "not a readable picture: 6, a blank frame: 3, too small to show vessels: 2)"),
        (2, "Images used", "4,234 images (1,612 positive) of 2,120 patients (808 positive); "
         "17 with the pixels of another image, not left out"),
    ]  # fmt: skip
    assert [title for _, title, _ in lines[5:]] == [
        "Training", "Validation", "Test", "Predictions analysed", "Without vessel masks", "With vessel masks",
        "Without a vessel ratio", "Saliency analysed",
    ]  # fmt: skip
    assert len({depth for depth, title, _ in lines if title in ("Training", "Validation", "Test")}) == 1
    assert len(list(flow_lines(DRAWN))) == 8


def test_one_is_not_several():
    assert of_images(Counts(1, 1, 0, 0)) == f"1 image (0{HARD}positive)"
    assert of_patients(Counts(1, 1, 0, 0)) == f"1 patient (0{HARD}positive)"
    assert (of_images(Counts(1)), of_patients(Counts(1))) == ("1 file", "")
    assert lost(Counts(2, 0, 1, 0)) == [f"2 images (1{HARD}positive)"], "both patients have another image"
    assert lost(Counts(2, 1, 1, 0))[1:] == ["1 patient without another image"]
    assert grouped(1234567) == f"1{THIN}234{THIN}567"


def test_rare_reasons_are_counted_together():
    reasons = {f"reason {number}": 20 - number for number in range(12)}
    gone = LeftOut("unusable", Counts(sum(reasons.values()), 0, 0, 0), reasons)
    assert reasons_of(gone, 10) == [*(f"{name}: {n}" for name, n in list(reasons.items())[:10]), "other reasons: 19"]
    assert len(reasons_of(gone, 12)) == 12


def test_every_name_has_a_title():
    def names(box):
        yield box.name
        if box.left_out:
            yield box.left_out.name
        for part in box.parts:
            yield from names(part)

    assert {*names(FOLDER), *names(Box("drawn", Counts(0, 0, 0, 0))), "unscored"} == set(TITLES)

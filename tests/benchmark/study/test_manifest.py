"""Tables of images as users write them, and the errors of faulty ones."""

import os
import time
import unicodedata
import zipfile
from pathlib import Path

import polars as pl
import pytest

from benchmark.errors import UserError
from benchmark.study.listing import read_listing
from benchmark.study.manifest import open_manifest

HEADER = "image,label,patient_id"


@pytest.fixture
def csv(tmp_path):
    """Write a CSV with one line per argument (text, or bytes unchanged), and return its path."""

    def csv(*lines: str | bytes) -> Path:
        path = tmp_path / "cohort.csv"
        path.write_bytes(b"".join(line.encode() + b"\n" if isinstance(line, str) else line for line in lines))
        return path

    return csv


def read_manifest(manifest: Path, *options, **named) -> pl.DataFrame:
    """Only the images."""
    return open_manifest(manifest, *options, **named).images


def refusal(manifest: Path, **options) -> list[str]:
    """The lines with which a manifest is refused, without its path at the start of each."""
    with pytest.raises(UserError) as caught:
        open_manifest(manifest, **options)
    return without_path(manifest, caught.value)


def conflicts(manifest: Path, **options) -> list[str]:
    """The same for a manifest that can be read but cannot be used for a study."""
    with pytest.raises(UserError) as caught:
        open_manifest(manifest, **options).refuse_conflicts()
    return without_path(manifest, caught.value)


def without_path(manifest: Path, error: UserError) -> list[str]:
    lines = str(error).splitlines()
    assert all(line.startswith(f"{manifest}: ") for line in lines)
    return [line.removeprefix(f"{manifest}: ") for line in lines]


def test_a_csv_becomes_one_row_per_image(csv, tmp_path):
    table = read_manifest(csv(HEADER, "eyes/a.jpg,0,7", "b.jpg,1,p8"))
    assert table.rows(named=True) == [
        {
            "image": image,
            "path": str(tmp_path / image),
            "label": label,
            "patient_id": patient,
            **dict.fromkeys(("class", "eye", "visit", "split", "artery_mask", "vein_mask", "disc_mask", "fov_mask")),
        }
        for image, label, patient in (("eyes/a.jpg", 0, "7"), ("b.jpg", 1, "p8"))
    ]
    assert table.schema["label"] == pl.Int8


def test_relative_paths_count_from_the_image_folder_and_absolute_ones_stay(csv, tmp_path):
    manifest = csv(f"{HEADER},artery_mask,vein_mask", "a.jpg,0,1,m/a.png,/masks/v.png", "/photos/b.jpg,1,2,,")
    here = read_manifest(manifest)
    assert here["path"].to_list() == [str(tmp_path / "a.jpg"), "/photos/b.jpg"]
    assert here["artery_mask"].to_list() == [str(tmp_path / "m/a.png"), None]
    there = read_manifest(manifest, tmp_path / "photos")
    assert there["path"].to_list() == [str(tmp_path / "photos/a.jpg"), "/photos/b.jpg"]
    assert there["vein_mask"].to_list() == ["/masks/v.png", None]


@pytest.mark.parametrize(
    ("written", "eye"),
    [("left", "left"), ("RIGHT", "right"), ("L", "left"), ("r", "right"), ("OS", "left"), ("od", "right"), ("", None)],
)
def test_spellings_of_the_eye(csv, written, eye):
    assert read_manifest(csv(f"{HEADER},eye", f"a.jpg,0,1,{written}"))["eye"][0] == eye


def test_splits_are_taken_in_any_case(csv):
    manifest = csv(f"{HEADER},split", "a,0,1,Train", "b,1,2,VAL", "c,1,3, test ")
    assert read_manifest(manifest)["split"].to_list() == ["train", "val", "test"]


@pytest.mark.parametrize(
    "lines",
    [
        (b"\xef\xbb\xbf", HEADER, "a.jpg,0,1", "b.jpg,1,2"),
        (b"image,label,patient_id\r\na.jpg,0,1\r\nb.jpg,1,2\r\n",),
        (HEADER, "", "a.jpg,0,1", "   ", ",,", "b.jpg,1,2", ""),
        ("image , label, patient_id", " a.jpg,0 , 1", '"b.jpg", 1,2 '),
        ("image;label;patient_id", "a.jpg;0;1", "b.jpg;1;2"),
        ("image\tlabel\tpatient_id", "a.jpg\t0\t1", "b.jpg\t1\t2"),
        (HEADER, "a.jpg,0.0,1", "b.jpg,1.0,2"),
        # Unstructured-IO/unstructured#4443: a spreadsheet's "Unicode text"
        ("\ufeffimage\tlabel\tpatient_id\r\na.jpg\t0\t1\r\nb.jpg\t1\t2\r\n".encode("utf-16-le"),),
        ("\ufeffimage\tlabel\tpatient_id\r\na.jpg\t0\t1\r\nb.jpg\t1\t2\r\n".encode("utf-16-be"),),
        (f"{HEADER}\na.jpg,0,1\nb.jpg,1,2\n".encode("utf-16-le"),),
        # betagouv/zam#171: line ends of old Macs
        (b"image,label,patient_id\ra.jpg,0,1\rb.jpg,1,2\r",),
        ("sep=;", "image;label;patient_id", "a.jpg;0;1", "b.jpg;1;2"),
        (b'\xef\xbb\xbf"sep=,"\r\n', "image,label,patient_id", "a.jpg,0,1", "b.jpg,1,2"),
        ('"image";"label";"patient_id";"keywords, as given, left, right"', '"a.jpg";"0";"1";"x"', '"b.jpg";"1";"2"'),
        ("image;label;patient_id;keywords, as given, left, right", "a.jpg;0;1;x, y", "b.jpg;1,0;2;"),
        ("image|label|patient_id", "a.jpg|0|1", "b.jpg|1|2"),
        (HEADER, "a.jpg,0,1,,", "b.jpg,1,2"),
        (f"{HEADER},", "a.jpg,0,1,", "b.jpg,1,2,"),
        (f"note,{HEADER},note", "x,a.jpg,0,1,y", "x,b.jpg,1,2,y"),
        ("", HEADER, "a.jpg,0,1", "b.jpg,1,2"),
        (HEADER, "a.jpg,0,1", 'b.jpg,1, "2"'),
        ("patient_id,diagnosis,label,image", "1,healthy,0,a.jpg", '2,"plaque, left",1,b.jpg'),
    ],
    ids=[
        "byte-order mark", "Windows", "blank lines", "spaces", "semicolons", "tabs", "floats",
        "UTF-16 with tabs", "UTF-16 of the other order", "UTF-16 without a mark", "old Mac", "sep", "quoted sep",
        "quoted header with commas", "header with commas", "bars", "empty fields at the end", "nameless column",
        "two columns of notes", "blank line first", "space before a quote", "other columns",
    ],
)  # fmt: skip
def test_what_spreadsheets_write_is_understood(csv, lines):
    table = read_manifest(csv(*lines))
    assert table.select("image", "label", "patient_id").rows() == [("a.jpg", 0, "1"), ("b.jpg", 1, "2")]


def test_the_ending_may_be_in_capitals(csv):
    manifest = csv(HEADER, "a.jpg,0,1")
    assert len(read_manifest(manifest.rename(manifest.with_name("COHORT.CSV")))) == 1


@pytest.mark.parametrize(
    ("labels", "patients", "expected"),
    [
        ([0, 1], [7, 8], [("a", 0, "7"), ("b", 1, "8")]),
        ([0.0, 1.0], [7.0, 8.5], [("a", 0, "7"), ("b", 1, "8.5")]),
        (["0", "1"], ["007", " 8 "], [("a", 0, "007"), ("b", 1, "8")]),
    ],
    ids=["integers", "floats", "text"],
)
def test_parquet_of_any_type(tmp_path, labels, patients, expected):
    path = tmp_path / "cohort.parquet"
    embedding = [[0.5], [0.5]]  # other columns may have any type
    pl.DataFrame({"image": ["a", "b"], "label": labels, "patient_id": patients, "x": embedding}).write_parquet(path)
    assert read_manifest(path).select("image", "label", "patient_id").rows() == expected


def test_rows_of_a_parquet_count_from_one_and_those_of_a_csv_from_its_header(csv, tmp_path):
    assert refusal(csv(HEADER, "a,2,1")) == ["row 2 (a): label is '2', must be 0 or 1"]
    path = tmp_path / "cohort.parquet"
    pl.DataFrame({"image": ["a"], "label": [2], "patient_id": [1]}).write_parquet(path)
    assert refusal(path) == ["row 1 (a): label is '2', must be 0 or 1"]


def test_blank_lines_count_as_rows(csv):
    (line,) = refusal(csv(HEADER, "", "a,0,1", ",,", "b,9,2"))
    assert line.startswith("row 5 (b): label is '9', must be 0 or 1")


@pytest.mark.parametrize(
    ("value", "positive"),
    [("2", "2"), ("yes", "yes"), ("-1", "-1"), ("0.5", "0.5"), ("true", "true"), ("over the disc", "'over the disc'")],
)
def test_a_label_other_than_0_and_1(csv, value, positive):
    """It may be a typing error, or one of several classes."""
    fix = f"if these are classes, name the positive ones with cohort.positive, as in --positive {positive}"
    line = f"row 3 (b): label is {value!r}, must be 0 or 1; {fix}"
    assert refusal(csv(HEADER, "a,0,1", f"b,{value},2")) == [line]


def test_a_label_that_is_missing_in_words(csv):
    assert refusal(csv(HEADER, "a,0,1", "b,NaN,2")) == ["row 3 (b): label is 'NaN', must be 0 or 1"]


def test_labels_of_several_classes_are_one_line_per_value(csv):
    """Grades 0 to 4: each value is named once, with its first row, and the option that divides them."""
    manifest = csv(HEADER, *(f"{i},{i % 5}.0,{i}" for i in range(50)))
    lines = refusal(manifest)
    fix = "must be 0 or 1; if these are classes, name the positive ones with cohort.positive, as in "
    assert [line.partition(fix)[0] for line in lines] == [
        f"row {grade + 2} ({grade}): label is '{grade}.0' here and in 9 more, " for grade in (2, 3, 4)
    ]
    assert {line.partition(fix)[2] for line in lines} == {"--positive 1.0,2.0,3.0,4.0"}
    images = open_manifest(manifest, positive=["2", "3", "4"]).images
    assert images["label"].to_list() == [int(i % 5 > 1) for i in range(50)]
    assert images["class"].to_list() == [f"{i % 5}.0" for i in range(50)]


def test_too_many_different_labels_are_not_called_classes(csv):
    lines = refusal(csv(HEADER, *(f"{i},{i},{i}" for i in range(30))))
    assert lines[0] == "row 4 (2): label is '2', must be 0 or 1"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",0,1", "row 3: image is empty"),
        ("b,,2", "row 3: label is empty"),
        ("b,1,  ", "row 3: patient_id is empty"),
        ("b,1", "row 3: patient_id is empty"),
    ],
)
def test_an_empty_value(csv, row, message):
    assert refusal(csv(HEADER, "a,0,1", row)) == [message]


def test_a_missing_column_is_named_with_the_existing_columns(csv):
    (line,) = refusal(csv("file,label,patient_id", "a,0,1"))
    there = "required are image, label, patient_id, but the header has file, label, patient_id"
    assert line == f"no column image; {there}; did you mean: rename file to image?"


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [("eye", "both", "must be left or right (or OD, OS)"), ("split", "valid", "must be train, val or test")],
)
def test_other_values_outside_their_range(csv, column, value, rule):
    manifest = csv(f"{HEADER},{column}", f"a,0,1,{value}")
    assert refusal(manifest) == [f"row 2 (a): {column} is {value!r}, {rule}"]


def test_a_split_column_that_is_partly_empty(csv):
    manifest = csv(f"{HEADER},split", "a,0,1,train", "b,1,2,", "c,1,3,")
    assert refusal(manifest) == ["row 3: split is empty, but other rows have one; fill every row or none"]


def test_an_image_listed_twice(csv):
    (line,) = refusal(csv(HEADER, "a,0,1", "b,1,2", "a,0,1"))
    assert line == "row 4: image a is already listed in row 2; list each image once"


def test_a_patient_in_two_splits(csv):
    manifest = csv(f"{HEADER},split", "a,0,7,train", "b,1,8,train", "c,0,7,test")
    (line,) = refusal(manifest)
    assert line.startswith("row 4: patient 7 is in test here but in train in row 2; put all images")


def test_faults_come_in_the_order_of_rows_and_are_cut_with_a_count(csv):
    lines = refusal(csv(HEADER, *(f"{i},{f'x{i}' if i % 3 == 2 else 0},{i}" for i in range(30)), "0,1,30"))
    assert [line.split()[1] for line in lines[:10]] == [str(row) for row in range(4, 34, 3)]
    assert lines[10:] == ["and 1 more"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.csv", "no such file; name a CSV, a Parquet file, or a folder of classes"),
        ("none", "no such file; name a CSV, a Parquet file, or a folder of classes"),
        ("cohort.doc", "a manifest is a .csv, a .parquet, or a folder laid out as train|val|test/<class>/"),
    ],
)
def test_a_file_that_is_not_a_manifest(tmp_path, name, message):
    (tmp_path / "cohort.doc").write_bytes(b"PK")
    assert refusal(tmp_path / name) == [message]


QUOTING = 'put names with commas in quotes ("a, b"), and double a quote inside them'
CSV_UTF_8 = "save it as CSV UTF-8 (comma delimited)"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; it needs a header with image, label, patient_id and one row per image"),
        (b"\r\n \r\n", "is empty; it needs a header with image, label, patient_id and one row per image"),
        (f'{HEADER}\na,0,1\n"b,0,1\n'.encode(), f'row 3: a quote (") is opened and never closed; {QUOTING}'),
        (f'{HEADER}\na,0,1\n"b"x,0,1\n'.encode(), f'row 3: a quote (") is closed before the end of a field; {QUOTING}'),
        # pola-rs/polars#28310: a file name with a comma, not quoted
        (
            f"{HEADER}\na.jpg,0,1\nscan 3, left.jpg,0,2\nb.jpg,1,3\n".encode(),
            f"row 3 has 4 fields, but the header 3; {QUOTING}",
        ),
        (b"image,label\na,0,1,2\n", f"row 2 has 4 fields, but the header 2; {QUOTING}"),
        (
            f"{HEADER}\na\0,0,1\n".encode(),
            f"line 2 contains NUL bytes: the file is damaged or not text; {CSV_UTF_8}",
        ),
        (b"\xff\xfei\0m\0a", f"begins like UTF-16-LE text but is damaged at byte 4: {CSV_UTF_8}"),
        (
            HEADER.encode() + b"\na\x81\xfd,0,1\n",
            f"line 2 is neither UTF-8 nor Windows-1252 text: {CSV_UTF_8}",
        ),
        (b"<html><table><tr>", f"is a web page (HTML or XML), not a table: open it in a spreadsheet and {CSV_UTF_8}"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", f"is an Excel workbook (.xls): open it and {CSV_UTF_8}"),
        (b"PAR1....", "is a Parquet file: give its name the ending .parquet"),
        (b"\x1f\x8b\x08", "is compressed (gzip): unpack it first"),
    ],
    ids=[
        "empty", "blank", "open quote", "inner quote", "comma in a name", "too many fields", "NUL", "half UTF-16",
        "another encoding", "HTML", "xls", "Parquet", "gzip",
    ],
)  # fmt: skip
def test_a_csv_that_cannot_be_read_is_one_line_with_its_row_and_the_fix(csv, content, message):
    assert refusal(csv(content)) == [message]


@pytest.mark.parametrize("name", ["cohort.csv", "cohort.xlsx"])
def test_a_workbook_is_named_as_one_whatever_its_ending(tmp_path, name):
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    assert refusal(tmp_path / name) == [f"is an Excel workbook (.xlsx): open it and {CSV_UTF_8}"]


def test_no_message_has_a_control_character(csv):
    for manifest in (csv("ima\x1b[31mge,label,patient_id\x07", "a,0,1"), csv(HEADER, "a\x1b[2J.jpg,\x07,1")):
        for line in refusal(manifest):
            assert line.isprintable()


def test_a_damaged_parquet_is_one_line(tmp_path):
    path = tmp_path / "cohort.parquet"
    path.write_bytes(b"PAR1 and no more")
    (line,) = refusal(path)
    assert line.startswith("cannot be read as a table (")


def test_a_header_alone(csv):
    assert refusal(csv(HEADER)) == ["has no row below its header; list one image per row"]


def test_umlauts_of_a_western_spreadsheet(csv):
    table = read_manifest(csv(f"{HEADER}\nM\xfcller_links.jpg,0,\xc4\n".encode("cp1252")))
    assert table.select("image", "patient_id").rows() == [("Müller_links.jpg", "Ä")]


def test_rows_count_as_a_spreadsheet_shows_them(csv):
    """A line break in quotes does not start a row, an empty line is a row, and `sep=;` is not a row."""
    manifest = csv("sep=;", "image;label;patient_id;note", 'a;0;1;"two', 'lines"', "", "b;5;2;")
    (line,) = refusal(manifest)
    assert line.startswith("row 4 (b): label is '5', must be 0 or 1")


def test_a_row_swallowed_by_an_open_quote(csv):
    (line,) = refusal(csv(HEADER, 'a,0,"p1', 'b,1,p2"', "c,1,3"))
    assert line == 'row 2: patient_id contains a line break: close or move the quote (") in that row'


# What pandas, R, spreadsheets and users write for a missing value (emdgroup/octopus-automl#301).
NOTHING = [
    "NA",
    "nan",
    "NaN",
    "None",
    "null",
    "#N/A",
    "n/a",
    "-",
    ".",
    "?",
    "unknown",
    "#REF!",
    "<NA>",
    "NaT",
    "--",
    "N.A.",
]


@pytest.mark.parametrize("column", ["image", "patient_id"])
@pytest.mark.parametrize("written", NOTHING)
def test_what_stands_for_a_missing_value_is_not_a_value(csv, column, written):
    row = {"image": "b.jpg", "label": "1", "patient_id": "2", column: written}
    (line,) = refusal(csv(HEADER, "a.jpg,0,1", ",".join(row.values())))
    assert line.startswith(f"row 3: {column} is {written!r}, which stands for a missing value: ")


def test_images_without_a_patient_id_are_not_one_patient(csv):
    lines = refusal(csv(HEADER, *(f"{i}.jpg,{i % 2},{'NA' if i % 3 == 0 else i}" for i in range(36))))
    assert [line.split(":")[0] for line in lines] == [*(f"row {row}" for row in range(2, 32, 3)), "and 2 more"]


@pytest.mark.parametrize("written", ["NA", "none", "-", "?", "unknown", "NaN", ""])
def test_an_optional_cell_may_be_a_missing_value(csv, written):
    table = read_manifest(csv(f"{HEADER},eye,split,artery_mask", f"a.jpg,0,1,{written},{written},{written}"))
    assert table.select("eye", "split", "artery_mask").row(0) == (None, None, None)


@pytest.mark.parametrize("column", ["eye", "split", "artery_mask"])
def test_a_failed_formula_is_not_an_empty_cell(csv, column):
    (line,) = refusal(csv(f"{HEADER},{column}", "a.jpg,0,1,#REF!"))
    assert line == f"row 2: {column} is '#REF!', a spreadsheet error: correct it or leave it empty"


@pytest.mark.parametrize("written", ["1.23457E+11", "1,23457E+11", "1e+16", "1.5E10"])
def test_a_number_that_a_spreadsheet_has_rounded_is_not_a_patient_id(csv, written):
    (line,) = refusal(csv("image;label;patient_id", f"a;0;{written}"))
    assert line == f"row 2: patient_id is {written!r}, a number that has lost its last digits: save the column as text"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("7", "7.0"),  # wireservice/csvkit#977, pola-rs/polars#5924
        ("7", "7,0"),
        ("007", "7"),
        ("007", "7.00"),
        ("P1", "p1"),
        ("P 1", "P  1"),
        ("7", "７"),
        ("7", "٧"),
        ("7", "7\N{ZERO WIDTH SPACE}"),
        ("é1", unicodedata.normalize("NFD", "é1")),
        ("P-1", "P\N{NON-BREAKING HYPHEN}1"),
        ("Straße", "STRASSE"),
    ],
)
def test_a_patient_written_in_two_ways(csv, one, other):
    (line,) = refusal(csv("image;label;patient_id", f"a;0;{one}", f"b;1;x{one}", f"c;0;{other}", f"d;0;{other}"))
    assert line.startswith("row 4: patient_id ")
    assert line.endswith(" in row 2 differ only in spelling; write each patient's id in one way")
    if one.isascii() and other.isascii():
        assert f" {other!r} and {one!r} " in line


def test_every_patient_written_in_two_ways_is_one_line(csv):
    rows = (
        f"{i}_{side}.jpg,{i % 2},{i}{suffix}" for i in range(15) for side, suffix in (("left", ""), ("right", ".0"))
    )
    lines = refusal(csv(HEADER, *rows))
    assert lines[0] == (
        "row 3: patient_id '0.0' and '0' in row 2 differ only in spelling; write each patient's id in one way"
    )
    assert lines[-1] == "and 5 more"


@pytest.mark.parametrize("ids", [["007", "008"], ["7.0", "8.0"], ["P1", "P10"], ["1-1", "11"], ["1,000", "1"]])
def test_patients_written_in_one_way_stay_as_they_are(csv, ids):
    rows = [f"{i}.jpg;{i % 2};{patient}" for i, patient in enumerate(ids * 2)]
    assert read_manifest(csv("image;label;patient_id", *rows))["patient_id"].to_list() == ids * 2


@pytest.mark.parametrize("kind", [pl.Float32, pl.Float64])
def test_long_numbers_as_floats_are_not_patient_ids(tmp_path, kind):
    path = tmp_path / "cohort.parquet"
    patients = pl.Series([7.0, float("nan"), 2.0**60], dtype=kind)
    pl.DataFrame({"image": ["a", "b", "c"], "label": [0, 1, 1], "patient_id": patients}).write_parquet(path)
    empty, rounded = refusal(path)
    assert empty == "row 2: patient_id is empty"
    assert rounded.startswith("row 3: patient_id is '1.152922e+18', a number that has lost its last digits")


def test_columns_of_other_kinds_in_parquet(tmp_path):
    path = tmp_path / "cohort.parquet"
    table = pl.DataFrame({" image": ["a", "b"], "label": [0, 1], "patient_id": ["x", "y"], "eye": ["L", None]})
    table.with_columns(pl.col("patient_id", "eye").cast(pl.Categorical)).write_parquet(path)
    rows = read_manifest(path).select("image", "label", "patient_id", "eye").rows()
    assert rows == [("a", 0, "x", "left"), ("b", 1, "y", None)]


@pytest.mark.parametrize(
    ("spelling", "eye"), [("right eye", "right"), ("LE", "left"), ("O.D.", "right"), ("re", "right")]
)
def test_more_spellings_of_the_eye(csv, spelling, eye):
    assert read_manifest(csv(f"{HEADER},eye", f"a.jpg,0,1,{spelling}"))["eye"][0] == eye


# Duplicate names: pola-rs/polars#23183 and #28310, where the second column is renamed.
@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("image,label,patient_id,label", "duplicate column label (columns 2 and 4): keep one, and rename the other"),
        ("image,label,patient_id, label", "duplicate column label (columns 2 and 4): keep one, and rename the other"),
        ("image,label,patient_id,Label", "duplicate column label (columns 2 and 4): keep one, and rename the other"),
        (
            "image,label,patient_id,Patient ID",
            "duplicate column patient_id (columns 3 and 4): keep one, and rename the other",
        ),
        ("image,label,patient_id,Split", "column 'Split' looks like split: write split, or rename it"),
        (
            "image,label,patient_id,artery mask",
            "column 'artery mask' looks like artery_mask: write artery_mask, or rename it",
        ),
    ],
)
def test_a_header_that_is_ambiguous(csv, header, message):
    assert refusal(csv(header, "a.jpg,0,1,1")) == [message]


@pytest.mark.parametrize(
    ("header", "renamed"),
    [
        ("filename,label,patient_id", "rename filename to image"),
        ("image,Label,patient_id", "rename Label to label"),
        ("image,label,patient", "rename patient to patient_id"),
        ("Path,Diagnosis,PatientID", "rename Path to image, rename Diagnosis to label, rename PatientID to patient_id"),
    ],
)
def test_a_column_of_nearly_the_name(csv, header, renamed):
    (line,) = refusal(csv(header, "a.jpg,0,1"))
    assert line.endswith(f"; did you mean: {renamed}?")


@pytest.fixture
def photos(tmp_path):
    """Files a.jpg, b.jpg, … of the same size and different content."""
    for name in "abcdef":
        (tmp_path / f"{name}.jpg").write_bytes(name.encode() * 100_000)
    return tmp_path


# One image under two names, two patients, two splits (as in JunkangZhang/RetinalSegReg#4).
@pytest.mark.parametrize(
    "again", ["./a.jpg", "gone/../a.jpg", "{photos}/a.jpg", "link.jpg", "hard.jpg", "folder/a.jpg"]
)
def test_one_file_listed_under_two_names(csv, photos, again):
    (photos / "link.jpg").symlink_to("a.jpg")
    (photos / "hard.jpg").hardlink_to(photos / "a.jpg")
    (photos / "folder").symlink_to(photos)
    again = again.format(photos=photos)
    rows = ("a.jpg,0,p0,train", "b.jpg,1,p1,train", f"{again},0,q0,test")
    (line,) = refusal(csv(f"{HEADER},split", *rows))
    assert line.startswith("row 4: image ")
    assert line.endswith(" is the same file as a.jpg in row 2; list each image once")


def test_one_missing_file_listed_under_two_names(csv):
    (line,) = refusal(csv(HEADER, "a.jpg,0,p0", "./a.jpg,0,q0"))
    assert line == "row 3: image ./a.jpg is the same file as a.jpg in row 2; list each image once"


def test_a_copy_under_another_patient(csv, photos):
    (photos / "copy.jpg").write_bytes((photos / "a.jpg").read_bytes())
    (line,) = conflicts(csv(HEADER, "a.jpg,0,p0", "b.jpg,1,p1", "copy.jpg,0,q0"))
    fix = "remove one of them, or give both the same patient_id"
    assert line == f"row 4: image copy.jpg is a copy of a.jpg in row 2, but of patient q0, not p0; {fix}"


def test_a_copy_of_the_same_patient_is_counted(csv, photos):
    (photos / "copy.jpg").write_bytes((photos / "a.jpg").read_bytes())
    assert len(read_manifest(csv(HEADER, "a.jpg,0,p0", "b.jpg,1,p1", "copy.jpg,0,p0"))) == 3
    opened = open_manifest(csv(HEADER, "a.jpg,0,p0", "b.jpg,1,p1", "copy.jpg,0,p0"))
    assert opened.copies == 1
    assert opened.remarks() == ["Copies of another image of the same patient: 1; they count as images"]
    (line,) = conflicts(csv(HEADER, "a.jpg,0,p0", "b.jpg,1,p1", "copy.jpg,1,p0"))
    assert line == "row 4: image copy.jpg is a copy of a.jpg in row 2, but has another label; correct one of them"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a.jpg,0,1,m.png,,,", "b.jpg,1,2,m.png,,,"], "row 3: artery_mask m.png is also the artery_mask of row 2"),
        (["a.jpg,0,1,m.png,,,", "b.jpg,1,2,,./m.png,,"], "row 3: vein_mask m.png is also the artery_mask of row 2"),
        (["a.jpg,0,1,,,d.png,", "b.jpg,1,2,,,d.png,"], "row 3: disc_mask d.png is also the disc_mask of row 2"),
        (["a.jpg,0,1,a.jpg,,,", "b.jpg,1,2,,,,"], "row 2: artery_mask a.jpg is also the image of row 2"),
    ],
)
def test_a_mask_of_two_images(csv, rows, message):
    (line,) = refusal(csv(f"{HEADER},artery_mask,vein_mask,disc_mask,fov_mask", *rows))
    assert line == f"{message}; every image needs its own mask"


def test_one_field_of_view_for_all_images_of_a_camera(csv):
    assert len(read_manifest(csv(f"{HEADER},fov_mask", "a.jpg,0,1,fov.png", "b.jpg,1,2,fov.png"))) == 2


def test_labels_in_words_need_the_positive_one(csv):
    manifest = csv(HEADER, "a.jpg,normal,1", "b.jpg,glaucoma,2", "c.jpg,Normal,3")
    lines = refusal(csv(HEADER, "a.jpg,normal,1", "b.jpg,glaucoma,2"))
    fix = "name the positive class with cohort.positive (or --positive 'normal')"
    assert lines == [f"labels are 'glaucoma' and 'normal': {fix}"]
    manifest = csv(HEADER, "a.jpg,normal,1", "b.jpg,glaucoma,2", "c.jpg,Normal,3")
    opened = open_manifest(manifest, positive=["glaucoma"])
    assert opened.images["label"].to_list() == [0, 1, 0]
    assert opened.remarks() == ["Classes: label 1 = glaucoma (positive), label 0 = normal"]


def test_a_positive_class_without_the_disease_is_remarked(csv):
    (remark,) = open_manifest(csv(HEADER, "a,normal,1", "b,glaucoma,2"), positive=["normal"]).remarks()
    assert remark.startswith("Classes: label 1 = normal (positive), label 0 = glaucoma; ")
    assert remark.endswith("--positive glaucoma")


@pytest.mark.parametrize(
    ("labels", "positive", "message"),
    [
        (
            ["normal", "glaucoma"],
            "glaucom",
            "'glaucom', but the classes are glaucoma and normal; did you mean glaucoma?",
        ),
        (
            ["normal", "glaucoma", "amd"],
            "dr",
            "column label: cohort.positive (--positive) names 'dr', but the classes are amd, glaucoma and normal; ",
        ),
        (["dr, mild", "no"], "dr", """a name with a comma needs a list, as in --set cohort.positive='["a, b"]'"""),
        (["normal"], "normal", "no class is left for label 0, because cohort.positive (--positive) names all of them"),
        (["yes", "NA", "no"], "yes", "label is 'NA', which stands for a missing value"),
    ],
)
def test_labels_that_do_not_fit_the_positive_class(csv, labels, positive, message):
    manifest = csv(HEADER, *(f'{i}.jpg,"{label}",{i}' for i, label in enumerate(labels)))
    with pytest.raises(UserError) as caught:
        open_manifest(manifest, positive=[positive])
    assert message in str(caught.value)


def test_several_classes_in_words(csv):
    """Words in any case; the others are label 0, and every class is counted."""
    words = ("none", "mild", "Moderate", "severe", "moderate", "mild")
    manifest = csv(HEADER, *(f"{i}.jpg,grade {word},{i}" for i, word in enumerate(words)))
    opened = open_manifest(manifest, positive=["GRADE severe", "grade moderate"])
    assert opened.images["label"].to_list() == [0, 0, 1, 1, 1, 0]
    assert opened.images["class"].to_list()[2] == opened.images["class"].to_list()[4] == "grade Moderate"
    assert opened.remarks() == [
        "Classes: label 1 = grade Moderate, grade severe (positive), label 0 = grade mild, grade none",
        "Images per class: grade Moderate 2, grade mild 2, grade none 1, grade severe 1",
    ]


def test_columns_of_other_names(csv):
    """The named column is read, also if another has the name that a study reads; that one counts as not used."""
    manifest = csv("File Name;label;Diagnosis;MRN;Side", "a.jpg;x;0;7;OD", "b.jpg;y;1;8;OS")
    named = {"image": "File Name", "label": "Diagnosis", "patient_id": "MRN", "eye": "Side"}
    opened = open_manifest(manifest, columns=named)
    assert opened.images.select("image", "label", "patient_id", "eye").rows() == [
        ("a.jpg", 0, "7", "right"),
        ("b.jpg", 1, "8", "left"),
    ]
    assert opened.unused == ["label"]
    (line,) = refusal(manifest, columns=named | {"label": "Diagnose"})
    assert line.startswith("no column Diagnose (cohort.columns.label); the header has File Name, label, Diagnosis, ")
    twice = csv("image,patient_id,Grade,grade", "a,1,0,1")
    assert refusal(twice, columns={"label": "Grade"}) == [
        "duplicate column Grade (columns 3 and 4): keep one, and rename the other"
    ]


def test_columns_of_other_names_in_a_parquet(tmp_path):
    path = tmp_path / "cohort.parquet"
    pl.DataFrame({"image": ["a", "b"], "grade": [0.0, 1.0], "mrn": [7, 8], "x": [0, 0]}).write_parquet(path)
    opened = open_manifest(path, columns={"label": "grade", "patient_id": "mrn"})
    assert opened.images.select("label", "patient_id").rows() == [(0, "7"), (1, "8")]
    assert opened.unused == ["x"]


def test_patients_from_the_names_of_images(csv):
    manifest = csv("image,label", "eyes/7_left.jpg,0", "eyes/7_right.jpg,0", "b.jpg,1")
    fault = "row 4: cohort.patient_pattern '^(.+)_(left|right)' finds no patient id in b.jpg"
    assert refusal(manifest, patient_pattern="^(.+)_(left|right)") == [fault]
    assert read_manifest(manifest, patient_pattern=r"^(.+?)[_.]")["patient_id"].to_list() == ["7", "7", "b"]
    with_column = csv(HEADER, "7_left.jpg,0,p1", "8_left.jpg,1,p2")
    assert read_manifest(with_column, patient_pattern="^(.+)_")["patient_id"].to_list() == ["p1", "p2"]


def test_numbers_may_be_named_too(csv):
    manifest = csv(HEADER, "a,0,1", "b,1.0,2")
    assert open_manifest(manifest, positive=["1"]).images["label"].to_list() == [0, 1]
    assert open_manifest(manifest, positive=["0"]).images["label"].to_list() == [1, 0]
    assert open_manifest(manifest).classes is None


MIXED = ("a.jpg,0,p1,left,2024", "b.jpg,1,p1,right,2024", "c.jpg,1,p2,OD,", "d.jpg,0,p2,,", "e.jpg,0,p3,left,2024")


def test_images_of_a_patient_with_different_labels(csv):
    """The patient has one label unless labels are per eye; images of an unknown eye may then have any."""
    manifest = csv(f"{HEADER},eye,visit", *MIXED)
    fix = "correct one of them, or add --set cohort.labels=eye if each eye has its own label"
    assert conflicts(manifest) == [
        f"row 3 (b.jpg): patient p1 has label 1 here but 0 in row 2 (a.jpg); {fix}",
        f"row 5 (d.jpg): patient p2 has label 0 here but 1 in row 4 (c.jpg); {fix}",
    ]
    assert not open_manifest(manifest, labels_per="eye").conflicts


def test_images_of_an_eye_with_different_labels(csv):
    """An eye may change between visits, not at one."""
    rows = (*MIXED, "f.jpg,1,p3,left,2025", "g.jpg,1,p3,OS,2024")
    opened = open_manifest(csv(f"{HEADER},eye,visit", *rows), labels_per="eye")
    (line,) = opened.conflicts
    assert line.endswith(
        "row 8 (g.jpg): left eye of patient p3 has label 1 here but 0 in row 6 (e.jpg); correct one of them"
    )
    assert opened.images["visit"].to_list() == ["2024", "2024", None, None, "2024", "2025", "2024"]


def test_a_date_as_visit(csv):
    manifest = csv(f"{HEADER},eye,exam date", "a.jpg,0,p1,left,2024-03-01", "b.jpg,1,p2,,")
    opened = open_manifest(manifest, columns={"visit": "exam date"})
    assert opened.images["visit"].to_list() == ["2024-03-01", None]


def test_covariates_of_a_table(csv):
    """Any columns, also one that a study reads; rows without an image in a spreadsheet are dropped as elsewhere."""
    manifest = csv(f"{HEADER},eye,age", "a.jpg,0,p1,L,61", "b.jpg,1,p2,R,", ",,,,")
    opened = open_manifest(manifest, covariates={"age": "number", "eye": "auto"})
    assert opened.covariates.to_dict(as_series=False) == {
        "image": ["a.jpg", "b.jpg"], "age": [61.0, None], "eye": ["L", "R"],
    }  # fmt: skip
    assert opened.unused == []
    assert open_manifest(manifest).unused == ["age"]


def test_covariates_that_are_not_there(csv, tmp_path):
    manifest = csv(f"{HEADER},age", "a.jpg,0,p1,61", "b.jpg,1,p2,old")
    has = "the header has image, label, patient_id, age"
    assert refusal(manifest, covariates={"sex": "auto"}) == [f"no column sex (cohort.covariates); {has}"]
    assert refusal(manifest, covariates={"age": "number"}) == ["row 3 (b.jpg): age is 'old', must be a number or empty"]
    (line,) = refusal(tmp_path, covariates={"age": "number", "sex": "auto"})
    assert line == "a folder has no column age, sex (cohort.covariates); list its images in a CSV"


def test_a_hundred_thousand_rows_are_read_in_a_moment(csv):
    """As pandas writes them, with a quoted text in each row; the limit leaves room for a busy machine."""
    manifest = csv(f"{HEADER},note", *(f'p/{i}.jpg,{i % 2},P{i // 2:06d},"x, y"' for i in range(100_000)))
    began = time.process_time()
    assert len(read_listing(manifest).rows) == 100_000
    assert time.process_time() - began < 3


@pytest.fixture
def folder(tmp_path):
    """Make a folder cohort of these files and, in addition, one of each class in train and val."""

    def folder(*files: str) -> Path:
        root = tmp_path / "cohort"
        for file in (*files, "train/no/1.jpg", "train/yes/2.jpg", "val/no/3.jpg", "val/yes/4.jpg"):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).touch()
        return root

    return folder


def test_a_folder_of_classes(folder):
    root = folder("test/no/5_L.JPG", "test/yes/6.tiff", "test/yes/notes.txt", "test/yes/._6.tiff", "val/.cache/x.jpg")
    table = read_manifest(root)
    assert table.select("image", "label", "split").rows() == [
        ("train/no/1.jpg", 0, "train"),
        ("train/yes/2.jpg", 1, "train"),
        ("val/no/3.jpg", 0, "val"),
        ("val/yes/4.jpg", 1, "val"),
        ("test/no/5_L.JPG", 0, "test"),
        ("test/yes/6.tiff", 1, "test"),
    ]
    assert table["path"].to_list() == [str(root / image) for image in table["image"]]


def test_a_folder_cohort_has_the_columns_of_a_table(folder, csv):
    from_folder, from_csv = read_manifest(folder("test/no/5.jpg")), read_manifest(csv(HEADER, "a.jpg,0,1"))
    assert from_folder.schema == from_csv.schema


def test_classes_are_labelled_in_alphabetical_order(tmp_path):
    for split in ("train", "val", "test"):
        for name in ("b_hypertension", "a_normal"):
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / f"{split}-{name}.png").touch()
    labels = {
        Path(image).parent.name: label for image, label in read_manifest(tmp_path).select("image", "label").rows()
    }
    assert labels == {"a_normal": 0, "b_hypertension": 1}


def test_every_file_is_a_patient_unless_a_pattern_gives_the_patient(folder):
    root = folder("test/no/1.jpg", "test/yes/7_left.jpg", "test/yes/7_right.jpg")
    assert read_manifest(root)["patient_id"].n_unique() == 7
    (root / "test/no/1.jpg").rename(root / "test/no/5.jpg")
    patients = read_manifest(root, patient_pattern=r"^(\d+)")["patient_id"]
    assert patients.to_list() == ["1", "2", "3", "4", "5", "7", "7"]


def test_a_patient_in_two_folders(folder):
    root = folder("test/no/1_left.jpg", "test/yes/9.jpg")
    lines = refusal(root, patient_pattern=r"^(\d+)")
    fix = "put all images of a patient into one split"
    assert lines == [f"patient 1 is in train (train/no/1.jpg) and in test (test/no/1_left.jpg); {fix}"]


def test_a_name_that_the_pattern_does_not_fit(folder):
    root = folder("test/no/x.jpg")
    with pytest.raises(UserError, match="finds no patient id in the file's name") as caught:
        read_manifest(root, patient_pattern=r"^(\d+)")
    assert str(caught.value).startswith(f"{root}/test/no/x.jpg: cohort.patient_pattern")


def test_three_classes(folder):
    (line,) = refusal(folder("test/maybe/7.jpg", "test/no/8.jpg", "test/yes/9.jpg"))
    fix = "give train, val and test two class folders of the same names, or list the images in a CSV"
    assert line == f"needs exactly two class folders, found maybe (in test only), no, yes; {fix}"


def test_a_split_without_a_folder(folder):
    assert refusal(folder()) == ["no folder test; a folder cohort has the layout train|val|test/<class>/ or <class>/"]


def test_a_folder_without_images(tmp_path):
    for split in ("train", "val", "test"):
        for name in ("no", "yes"):
            (tmp_path / split / name / "patient").mkdir(parents=True)
    assert refusal(tmp_path) == ["no image in the folders train|val|test/no|yes/"]


@pytest.mark.parametrize("suffix", [".ppm", ".PPM", ".pgm", ".gif", ".jfif", ".jpe", ".jp2", ".mpo", ".webp"])
def test_every_kind_of_image_is_used(folder, suffix):
    """As by torchvision's ImageFolder, which RETFound uses (syshin1014/VGN#3: STARE is .ppm)."""
    root = folder("test/no/5.jpg", f"test/yes/im0002{suffix}")
    assert f"test/yes/im0002{suffix}" in read_manifest(root)["image"].to_list()


def test_images_in_folders_of_a_class_folder(folder):
    """As found by torchvision's ImageFolder (NVIDIA/DIGITS#7: class/patient/visit/)."""
    root = folder("test/no/5.jpg", "test/yes/2019/visit1/OD.jpg", "test/yes/2019/visit1/OS.JPG", "test/yes/2020/x.jpg")
    assert read_manifest(root).filter(split="test")["image"].to_list() == [
        "test/no/5.jpg",
        "test/yes/2019/visit1/OD.jpg",
        "test/yes/2019/visit1/OS.JPG",
        "test/yes/2020/x.jpg",
    ]


def test_links_are_followed_except_into_a_folder_above(folder, tmp_path):
    root = folder("test/no/5.jpg", "test/yes/6.jpg")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "7.jpg").touch()
    (root / "test/yes/more").symlink_to(tmp_path / "store")
    (root / "test/yes/above").symlink_to(root / "test")
    (root / "test/yes/8.jpg").symlink_to(tmp_path / "store" / "gone.jpg")
    assert read_manifest(root).filter(split="test")["image"].to_list() == [
        "test/no/5.jpg",
        "test/yes/6.jpg",
        "test/yes/8.jpg",  # reported as missing, not left out
        "test/yes/more/7.jpg",
    ]


def test_what_is_left_out_is_counted_by_reason(folder):
    root = folder(
        "test/no/5.jpg", "test/yes/6.jpg", "test/yes/notes.txt", "train/no/a/Thumbs.db", "train/yes/IM0001",
        "test/yes/._6.jpg", "val/no/.cache/x.jpg", "train/7.jpg", "8.jpg", "readme.txt", "extern/yes/9.jpg",
    )  # fmt: skip
    os.mkfifo(root / "val/yes/pipe.jpg")
    opened = open_manifest(root)
    assert len(opened.images) == 6
    assert opened.left_out == {
        "hidden": 2,
        "in extern/, which is not a split": 1,
        "not regular files": 1,
        "outside the class folders": 2,
        "with the ending .db": 1,
        "with the ending .txt": 1,
        "without an ending": 1,
    }
    assert "Folders: 9 files left out: 2 hidden, 1 in extern/" in "\n".join(opened.remarks())


def test_a_name_that_is_not_text_is_left_out_and_counted(folder):
    root = folder("test/no/5.jpg", "test/yes/6.jpg")
    Path(os.fsdecode(bytes(root / "test/yes") + b"/M\xfcller.jpg")).touch()
    assert open_manifest(root).left_out == {"with a name that is not UTF-8": 1}


def test_split_folders_in_capitals(folder):
    root = folder("test/no/5.jpg", "test/yes/6.jpg")
    (root / "train").rename(root / "Train")
    table = read_manifest(root)
    assert table.filter(split="train")["image"].to_list() == ["Train/no/1.jpg", "Train/yes/2.jpg"]
    (root / "train").mkdir()
    assert refusal(root) == ["contains both Train and train; keep one folder for train"]


@pytest.mark.parametrize(("name", "split"), [("valid", "val"), ("Validation", "val"), ("Training", "train")])
def test_a_split_folder_of_another_name(folder, name, split):
    root = folder("test/no/5.jpg", "test/yes/6.jpg")
    (root / split).rename(root / name)
    message = f"no folder {split}; a folder cohort has the layout train|val|test/<class>/ or <class>/"
    assert refusal(root) == [f"{message}; rename {name} to {split}"]


def test_classes_with_numbers_are_in_order_of_the_numbers(tmp_path):
    for split in ("train", "val", "test"):
        for name in ("10_severe", "2_mild"):
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / f"{split}.png").touch()
    table = read_manifest(tmp_path)
    assert table.filter(pl.col("image").str.contains("10_severe"))["label"].unique().to_list() == [1]


def test_the_positive_class_of_folders(folder):
    """pytorch/vision#208: labels follow the order of names, so the classes have to be printed."""
    root = folder("test/no/5.jpg", "test/yes/6.jpg")
    assert open_manifest(root).remarks() == ["Classes: label 1 = yes (positive), label 0 = no"]
    opened = open_manifest(root, positive=["no"])
    assert opened.remarks()[0].startswith("Classes: label 1 = no (positive), label 0 = yes; ")
    assert opened.images.filter(label=1)["image"].str.contains("/no/").all()
    with pytest.raises(UserError) as caught:
        open_manifest(root, positive=["yess"])
    message = "cohort.positive (--positive) names 'yess', but the classes are no and yes; did you mean yes?"
    assert str(caught.value) == f"{root}: {message}"


def test_several_class_folders(folder):
    """As for APTOS or EyePACS: one folder per grade."""
    files = [f"{split}/{grade}/{grade}.jpg" for split in ("test", "train", "val") for grade in ("mild", "severe")]
    root = folder("test/no/5.jpg", "test/yes/6.jpg", *files)
    assert refusal(root) == [
        "the class folders are mild, no, severe, yes; name the positive ones (label 1) with cohort.positive, as in "
        "--positive no,severe,yes"
    ]
    images = open_manifest(root, positive=["severe", "yes"]).images
    counts = images.group_by("class", "label").len().sort("class").rows()
    assert counts == [("mild", 0, 3), ("no", 0, 3), ("severe", 1, 3), ("yes", 1, 3)]


def test_class_folders_without_splits(tmp_path):
    """Patients are then divided at random, so they must be known."""
    for file in ("no/1_left.jpg", "no/2_left.jpg", "yes/deep/1_right.jpg", "yes/notes.txt"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (line,) = refusal(tmp_path)
    assert line.startswith(
        "has no folders train, val and test, so patients are divided at random; set cohort.patient_p"
    )
    opened = open_manifest(tmp_path, patient_pattern="^(.+)_(left|right)")
    assert opened.images.select("image", "label", "patient_id", "split").rows() == [
        ("no/1_left.jpg", 0, "1", None),
        ("no/2_left.jpg", 0, "2", None),
        ("yes/deep/1_right.jpg", 1, "1", None),
    ]
    assert opened.left_out == {"with the ending .txt": 1}


def test_a_copy_in_another_split_or_class(folder):
    root = folder("test/no/5.jpg", "test/yes/6.jpg")
    for file in root.rglob("*.jpg"):
        file.write_bytes(file.name.encode() * 5000)
    (root / "test/no/copy.jpg").write_bytes((root / "train/no/1.jpg").read_bytes())
    (root / "test/yes/copy.jpg").write_bytes((root / "test/no/5.jpg").read_bytes())
    assert conflicts(root) == [
        "test/no/copy.jpg is a copy of train/no/1.jpg, which is in another split; keep one of them",
        "test/yes/copy.jpg is a copy of test/no/5.jpg, which is in the other class; keep one of them",
    ]


def test_copies_within_a_class_folder_are_one_patient(folder):
    root = folder("test/no/5.jpg", "test/yes/6.jpg", "train/no/7.jpg")
    for name in ("1", "7"):
        (root / f"train/no/{name}.jpg").write_bytes(b"one image" * 1000)
    opened = open_manifest(root)
    assert opened.copies == 1
    assert opened.images.filter(label=0, split="train")["patient_id"].to_list() == ["train/no/1.jpg"] * 2


def test_a_patient_written_in_two_ways_in_file_names(folder):
    root = folder("test/no/5.jpg", "test/yes/02_left.jpg")
    (line,) = refusal(root, patient_pattern=r"^(\d+)")
    assert line.startswith("test/yes/02_left.jpg: patient_id '02' and '2' in train/yes/2.jpg differ only in spelling")


def dicom_file(path: Path, patient: str, laterality: str, seed: int) -> None:
    """A small fundus image as a camera exports it."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = pydicom.Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.PatientID, data.ImageLaterality = patient, laterality
    data.Rows, data.Columns, data.SamplesPerPixel, data.BitsAllocated, data.BitsStored = 8, 8, 3, 8, 8
    data.HighBit, data.PixelRepresentation, data.PlanarConfiguration = 7, 0, 0
    data.PhotometricInterpretation, data.PixelData = "RGB", bytes([seed]) * 192
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def test_patient_and_eye_of_dicom_files(csv, tmp_path):
    for seed, (name, patient, side) in enumerate((("a.dcm", "P1", "R"), ("b.DCM", "P1", "L"), ("c.dcm", "P2", "R"))):
        dicom_file(tmp_path / name, patient, side, seed)
    table = read_manifest(csv("image,label", "a.dcm,0", "b.DCM,0", "c.dcm,1"))
    assert table.select("patient_id", "eye").rows() == [("P1", "right"), ("P1", "left"), ("P2", "right")]
    (tmp_path / "c.dcm").rename(tmp_path / "IM0003")
    table = read_manifest(csv(f"{HEADER},eye", "a.dcm,0,,", "b.DCM,0,X,R", "IM0003,1,,"))
    assert table.select("patient_id", "eye").rows() == [("P1", "right"), ("X", "right"), ("P2", "right")]


@pytest.mark.parametrize(
    ("tag", "message"),
    [("", "patient_id is empty, and so is PatientID in the file"), ("ANONYMOUS", "patient_id is 'ANONY")],
)
def test_dicom_files_without_a_patient_id(csv, tmp_path, tag, message):
    dicom_file(tmp_path / "a.dcm", tag, "R", 1)
    (line,) = refusal(csv("image,label", "a.dcm,0"))
    assert line.startswith(f"row 2: {message}")


def test_dicom_files_in_folders(folder):
    root = folder("test/no/5.jpg", "test/yes/6.jpg")
    for seed, (file, patient) in enumerate((("1/a.dcm", "P1"), ("1/b.dcm", "P1"), ("c.dcm", "Anonymous"))):
        dicom_file(root / "train/no" / file, patient, "L", seed)
    table = read_manifest(root).filter(pl.col("image").str.ends_with(".dcm"))
    assert table.select("patient_id", "eye").rows() == [
        ("train/no/c.dcm", "left"),
        ("P1", "left"),
        ("P1", "left"),
    ]


def test_columns_that_are_not_used_are_named(csv, tmp_path):
    manifest = csv(f"{HEADER}, age ,eye,camera[x],", "a.jpg,0,1,60,left,A,", "b.jpg,1,2,61,right,B,")
    found = open_manifest(manifest)
    assert found.unused == ["age", "camera[x]"], "the last column has no name"
    assert found.remarks() == ["Columns that are not used: age, camera[x]"]
    many = tmp_path / "many.parquet"
    columns = {"image": ["a.jpg", "b.jpg"], "label": [0, 1], "patient_id": ["1", "2"]}
    pl.DataFrame(columns | {f"x{number}": [0, 0] for number in range(12)}).write_parquet(many)
    (remark,) = open_manifest(many).remarks()
    assert remark.endswith("x8, x9 and 2 more")
    assert open_manifest(csv(HEADER, "a.jpg,0,1")).remarks() == []

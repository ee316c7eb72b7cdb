"""Tables of photographs as people write them, and what they are told about faulty ones."""

from pathlib import Path

import polars as pl
import pytest

from benchmark.errors import UserError
from benchmark.manifest import read_manifest

HEADER = "image,label,patient_id"


@pytest.fixture
def csv(tmp_path):
    """Write a CSV, a line an argument (text, or bytes as they are), and return its path."""

    def csv(*lines: str | bytes) -> Path:
        path = tmp_path / "cohort.csv"
        path.write_bytes(b"".join(line.encode() + b"\n" if isinstance(line, str) else line for line in lines))
        return path

    return csv


def refusal(manifest: Path, **options) -> list[str]:
    """The lines that a manifest is refused with, less its path that each begins with."""
    with pytest.raises(UserError) as caught:
        read_manifest(manifest, **options)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{manifest}: ") for line in lines)
    return [line.removeprefix(f"{manifest}: ") for line in lines]


def test_a_csv_becomes_one_row_a_photograph(csv, tmp_path):
    table = read_manifest(csv(HEADER, "eyes/a.jpg,0,7", "b.jpg,1,p8"))
    assert table.rows(named=True) == [
        {
            "image": image,
            "path": str(tmp_path / image),
            "label": label,
            "patient_id": patient,
            **dict.fromkeys(("eye", "split", "artery_mask", "vein_mask", "disc_mask", "fov_mask")),
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
        ("patient_id,diagnosis,label,image", "1,healthy,0,a.jpg", '2,"plaque, left",1,b.jpg'),
    ],
    ids=["byte-order mark", "Windows", "blank lines", "spaces", "semicolons", "tabs", "floats", "other columns"],
)
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
        ([0.0, 1.0], [7.0, 8.5], [("a", 0, "7.0"), ("b", 1, "8.5")]),
        (["0", "1"], ["007", " 8 "], [("a", 0, "007"), ("b", 1, "8")]),
    ],
    ids=["integers", "floats", "text"],
)
def test_parquet_of_any_type(tmp_path, labels, patients, expected):
    path = tmp_path / "cohort.parquet"
    embedding = [[0.5], [0.5]]  # a column that is none of a manifest's may hold anything
    pl.DataFrame({"image": ["a", "b"], "label": labels, "patient_id": patients, "x": embedding}).write_parquet(path)
    assert read_manifest(path).select("image", "label", "patient_id").rows() == expected


def test_rows_of_a_parquet_count_from_one_and_those_of_a_csv_from_its_header(csv, tmp_path):
    assert refusal(csv(HEADER, "a,2,1")) == ["row 2 (a): label is '2', must be 0 or 1"]
    path = tmp_path / "cohort.parquet"
    pl.DataFrame({"image": ["a"], "label": [2], "patient_id": [1]}).write_parquet(path)
    assert refusal(path) == ["row 1 (a): label is '2', must be 0 or 1"]


def test_blank_lines_count_as_rows(csv):
    assert refusal(csv(HEADER, "", "a,0,1", ",,", "b,9,2")) == ["row 5 (b): label is '9', must be 0 or 1"]


@pytest.mark.parametrize("value", ["2", "yes", "-1", "0.5", "NaN", "true"])
def test_a_label_other_than_0_and_1(csv, value):
    assert refusal(csv(HEADER, "a,0,1", f"b,{value},2")) == [f"row 3 (b): label is {value!r}, must be 0 or 1"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (",0,1", "row 3: image is empty"),
        ("b,,2", "row 3: label is empty"),
        ("b,1,  ", "row 3: patient_id is empty"),
        ("b,1", "row 3: patient_id is empty"),
    ],
)
def test_an_empty_value(csv, row, told):
    assert refusal(csv(HEADER, "a,0,1", row)) == [told]


def test_a_missing_column_is_named_beside_those_that_are_there(csv):
    (line,) = refusal(csv("file,label,patient_id", "a,0,1"))
    assert line == "no column image; needed are image, label, patient_id, and it has file, label, patient_id"


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [("eye", "both", "must be left or right (or OD, OS)"), ("split", "valid", "must be train, val or test")],
)
def test_other_values_outside_their_range(csv, column, value, rule):
    manifest = csv(f"{HEADER},{column}", f"a,0,1,{value}")
    assert refusal(manifest) == [f"row 2 (a): {column} is {value!r}, {rule}"]


def test_a_split_column_that_is_partly_empty(csv):
    manifest = csv(f"{HEADER},split", "a,0,1,train", "b,1,2,", "c,1,3,")
    assert refusal(manifest) == ["row 3: split is empty here but given elsewhere; fill every row or none"]


def test_an_image_listed_twice(csv):
    assert refusal(csv(HEADER, "a,0,1", "b,1,2", "a,0,1")) == ["row 4: image a is listed in row 2 already"]


def test_a_person_in_two_splits(csv):
    manifest = csv(f"{HEADER},split", "a,0,7,train", "b,1,8,train", "c,0,7,test")
    assert refusal(manifest) == ["row 4: person 7 is in test here and in train in row 2"]


def test_faults_come_in_the_order_of_rows_and_are_cut_with_a_count(csv):
    lines = refusal(csv(HEADER, *(f"{i},{i % 3},{i}" for i in range(30)), "0,1,30"))
    assert [line.split()[1] for line in lines[:10]] == [str(row) for row in range(4, 34, 3)]
    assert lines[10:] == ["and 1 more"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("none.csv", "no such file; name a CSV, a Parquet file, or a folder of classes"),
        ("none", "no such file; name a CSV, a Parquet file, or a folder of classes"),
        ("cohort.xlsx", "a manifest is a .csv, a .parquet, or a folder laid out train|val|test/<class>/"),
    ],
)
def test_a_manifest_that_is_none(tmp_path, name, told):
    (tmp_path / "cohort.xlsx").write_bytes(b"PK")
    assert refusal(tmp_path / name) == [told]


@pytest.mark.parametrize(
    "content",
    [b"", (HEADER + "\na\xe9,0,1\n").encode("latin-1"), (HEADER + '\n"a,0,1\n').encode(), b"image,label\na,0,1,2\n"],
    ids=["empty", "Latin-1", "open quote", "too many fields"],
)
def test_a_csv_that_cannot_be_read_is_one_line_with_the_mend(csv, content):
    (line,) = refusal(csv(content))
    assert line.startswith("cannot be read as a table (")
    assert line.endswith("); save it as comma-separated text in UTF-8")


def test_a_damaged_parquet_is_one_line(tmp_path):
    path = tmp_path / "cohort.parquet"
    path.write_bytes(b"PAR1 and no more")
    (line,) = refusal(path)
    assert line.startswith("cannot be read as a table (")


def test_a_header_alone(csv):
    assert refusal(csv(HEADER)) == ["has no row below its header; list one photograph a row"]


@pytest.fixture
def folder(tmp_path):
    """Make a folder cohort of these files, besides one of each class in train and val."""

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


def test_every_file_is_a_person_unless_a_pattern_says_who_it_is(folder):
    root = folder("test/no/1.jpg", "test/yes/7_left.jpg", "test/yes/7_right.jpg")
    assert read_manifest(root)["patient_id"].n_unique() == 7
    (root / "test/no/1.jpg").rename(root / "test/no/5.jpg")
    people = read_manifest(root, patient_pattern=r"^(\d+)")["patient_id"]
    assert people.to_list() == ["1", "2", "3", "4", "5", "7", "7"]


def test_a_person_in_two_folders(folder):
    root = folder("test/no/1_left.jpg", "test/yes/9.jpg")
    lines = refusal(root, patient_pattern=r"^(\d+)")
    assert lines == ["person 1 is in train (train/no/1.jpg) and in test (test/no/1_left.jpg)"]


def test_a_name_that_the_pattern_does_not_fit(folder):
    root = folder("test/no/x.jpg")
    with pytest.raises(UserError, match="finds no patient id in the file's name") as caught:
        read_manifest(root, patient_pattern=r"^(\d+)")
    assert str(caught.value).startswith(f"{root}/test/no/x.jpg: cohort.patient_pattern")


def test_three_classes(folder):
    assert refusal(folder("test/maybe/7.jpg")) == ["needs exactly two class folders, found maybe, no, yes"]


def test_a_split_without_a_folder(folder):
    assert refusal(folder()) == ["no folder test; a folder cohort is laid out train|val|test/<class>/"]


def test_a_folder_without_images(tmp_path):
    for split in ("train", "val", "test"):
        for name in ("no", "yes"):
            (tmp_path / split / name / "person").mkdir(parents=True)
    assert refusal(tmp_path) == ["no image in the folders train|val|test/no|yes/"]

"""Cohorts of class folders."""

import os

import pytest

from benchmark.errors import UserError
from benchmark.study.folder import left_out_text, read_folder


def made(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def test_what_torchvision_takes_is_taken(tmp_path):
    """The same files as `ImageFolder` with its own loader, which RETFound uses, including capitals and subfolders."""
    datasets = pytest.importorskip("torchvision.datasets")
    files = [f"{name}{suffix}" for name in ("a", "deep/er/b") for suffix in (".JPG", *datasets.folder.IMG_EXTENSIONS)]
    for split in ("train", "val", "test"):
        made(tmp_path / split, *(f"{label}/{file}" for label in ("no", "yes") for file in files), "no/notes.txt")
    found = read_folder(tmp_path, None)
    for split in ("train", "val", "test"):
        theirs = {
            (os.path.relpath(path, tmp_path), label) for path, label in datasets.ImageFolder(tmp_path / split).samples
        }
        assert {(p.image, p.label) for p in found.listed if p.split == split} == theirs
    assert left_out_text(found.left_out) == "3 files left out: 3 with the ending .txt"


def test_classes_of_another_case_in_a_split_are_shown(tmp_path):
    root = made(
        tmp_path,
        "train/Yes/1.jpg",
        "train/no/1.jpg",
        "val/yes/1.jpg",
        "val/no/1.jpg",
        "test/yes/1.jpg",
        "test/no/1.jpg",
    )
    with pytest.raises(UserError, match=r"found Yes \(in train only\), no, yes \(in val and test only\); give"):
        read_folder(root, None)


def test_a_single_class_folder_is_refused(tmp_path):
    root = made(tmp_path, *(f"{split}/yes/1.jpg" for split in ("train", "val", "test")))
    with pytest.raises(UserError, match="needs exactly two class folders, found yes; give"):
        read_folder(root, None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path):
    root = made(tmp_path, *(f"{split}/{name}/1.jpg" for split in ("train", "val", "test") for name in ("no", "yes")))
    (root / "val" / "no").chmod(0)
    with pytest.raises(UserError, match=r"val/no: cannot be read \(Permission denied\)"):
        read_folder(root, None)

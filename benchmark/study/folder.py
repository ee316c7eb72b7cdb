"""Read a cohort of folders, `train|val|test/<class>/` or `<class>/`, as torchvision's ImageFolder does."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import UserError
from benchmark.study import classes
from benchmark.study.classes import Classes
from benchmark.study.images import IMAGE_SUFFIXES
from benchmark.study.spellings import shown

SPLITS = ("train", "val", "test")
_LAYOUT = "a folder cohort has the layout train|val|test/<class>/ or <class>/"
_MEANT = {
    "train": {"training", "trn", "tr"},
    "val": {"valid", "validation", "validate", "dev", "eval"},
    "test": {"testing", "tst", "holdout"},
}


@dataclass(frozen=True)
class Listed:
    """One file of a class folder; `image` is its path below the cohort's folder, `split` is None without splits."""

    image: str
    split: str | None
    of_class: str
    label: int


@dataclass(frozen=True)
class Folder:
    """The content of a folder cohort; `left_out` counts the files that are not used, by reason."""

    listed: list[Listed]
    classes: Classes
    left_out: dict[str, int]


def read_folder(folder: Path, positive: list[str] | None) -> Folder:
    """Read all images of the class folders, at any depth; links are followed.

    Args:
        positive: names of the classes that are label 1; by default there must be two, and it is the last by name.

    Raises:
        UserError: the layout differs, the positive classes are not known, or there is no image; one line.
    """
    try:
        return _read(folder, positive)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror}); check its permissions") from error


def class_names(folder: Path) -> list[str]:
    """The names of the class folders, in order, whether or not they are two.

    Raises:
        UserError: the layout differs, or a folder cannot be read; one line.
    """
    try:
        splits = _split_folders(folder, Counter())
        return classes.in_order(
            {name for below in splits.values() for name in _class_folders(folder / below, Counter())}
        )
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror}); check its permissions") from error


def _read(folder: Path, positive: list[str] | None) -> Folder:
    left_out: Counter[str] = Counter()
    splits = _split_folders(folder, left_out)
    class_folders = {split: _class_folders(folder / name, left_out) for split, name in splits.items()}
    names = classes.in_order({name for found in class_folders.values() for name in found})
    named = _named(folder, names, class_folders, positive)
    listed = [
        Listed(f"{splits[split]}{name}/{file}", split, name, named.label(name))
        for split in splits
        for name in (*named.negative, *named.positive)
        if name in class_folders[split]
        for file in _images_of_class(folder / splits[split] / name, left_out)
    ]
    if not listed:
        above = "" if None in splits else "train|val|test/"
        raise UserError(
            f"{folder}: no image in the folders {above}{'|'.join(names)}/"
            + (f" ({left_out_text(left_out)})" if left_out else "")
        )
    return Folder(listed, named, dict(sorted(left_out.items())))


def _named(
    folder: Path, names: list[str], class_folders: Mapping[str | None, list[str]], positive: list[str] | None
) -> Classes:
    """Which class folders are positive.

    Raises:
        UserError: a class does not exist, or `positive` is needed to know.
    """
    everywhere = all(name in found for name in names for found in class_folders.values())
    if positive is None and len(names) > 2 and everywhere:
        raise UserError(
            f"{folder}: the class folders are {', '.join(map(shown, names))}; name the positive ones (label 1) with "
            f"cohort.positive, as in {classes.advice(names)}"
        )
    if len(names) < 2 or (positive is None and len(names) > 2):
        found = ", ".join(_where(name, class_folders) for name in names) or "none"
        raise UserError(
            f"{folder}: needs exactly two class folders, found {found}; give train, val and test two class folders of "
            "the same names, or list the images in a CSV"
        )
    if positive is None:
        return Classes((names[0],), (names[1],))
    try:
        return classes.with_positive(names, positive)
    except ValueError as error:
        raise UserError(f"{folder}: {error}") from error


def left_out_text(left_out: Mapping[str, int]) -> str:
    """Describe how many files of a folder cohort are left out, and why."""
    total = sum(left_out.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
    return f"{total} {'file' if total == 1 else 'files'} left out: {reasons}"


def _split_folders(folder: Path, left_out: Counter[str]) -> Mapping[str | None, str]:
    """Map each split to its folder below `folder`, as `train/`, in any case; None to `""` if there are no splits."""
    found: dict[str, str] = {}
    others = []
    for entry in _entries(folder):
        split = entry.name.lower()
        if split not in SPLITS or not entry.is_dir():
            others.append(entry)
        elif split in found:
            raise UserError(f"{folder}: contains both {found[split]} and {entry.name}; keep one folder for {split}")
        else:
            found[split] = entry.name
    absent = [split for split in SPLITS if split not in found]
    if len(absent) == len(SPLITS) and _hold_classes(others):
        return {None: ""}
    if absent:
        renamed = [
            f"rename {shown(entry.name)} to {split}"
            for split in absent
            for entry in others
            if entry.name.lower() in _MEANT[split] and entry.is_dir()
        ]
        advice = f"; {', '.join(renamed)}" if renamed else ""
        raise UserError(f"{folder}: no folder {', '.join(sorted(absent))}; {_LAYOUT}{advice}")
    for entry in others:
        if entry.is_dir() and not entry.name.startswith("."):
            inside = sum(_is_image(file) for _, file in _walk(entry.path, ()))
            if inside:
                left_out[f"in {shown(entry.name)}/, which is not a split"] += inside
        elif _is_image(entry):
            left_out["outside the class folders"] += 1
    return {split: f"{found[split]}/" for split in SPLITS}


def _hold_classes(entries: list[os.DirEntry[str]]) -> bool:
    """Whether two or more of the entries are folders with images, and none is called almost like a split."""
    folders = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    if any(entry.name.lower() in meant for entry in folders for meant in _MEANT.values()):
        return False
    return sum(any(_is_image(file) for _, file in _walk(entry.path, ())) for entry in folders) > 1


def _class_folders(split: Path, left_out: Counter[str]) -> list[str]:
    names = []
    for entry in _entries(split):
        if entry.is_dir() and not entry.name.startswith("."):
            if not _is_text(entry.name):
                raise UserError(f"{split}: the name of folder {shown(entry.name)} is not UTF-8: rename it")
            names.append(entry.name)
        elif _is_image(entry):
            left_out["outside the class folders"] += 1
    return names


def _where(name: str, class_folders: Mapping[str | None, list[str]]) -> str:
    places = [str(split) for split, found in class_folders.items() if name in found]
    return shown(name) if len(places) == len(class_folders) else f"{shown(name)} (in {' and '.join(places)} only)"


def _images_of_class(folder: Path, left_out: Counter[str]) -> Iterator[str]:
    return images_below(folder, left_out, (_identity(folder.parent.parent), _identity(folder.parent)))


def images_below(folder: Path, left_out: Counter[str], above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """The paths of the images below a folder: in each folder first its files, by name, then its subfolders.

    Args:
        left_out: counts the files that are not images, by reason.
        above: device and number of folders that links must not lead into.
    """
    for relative, entry in _walk(str(folder), above):
        reason = _reason(entry) or ("" if _is_text(relative) else "with a name that is not UTF-8")
        if reason:
            left_out[reason] += 1
        else:
            yield relative


def _reason(entry: os.DirEntry[str]) -> str:
    """Why a file is left out; empty if it is used. A broken link is used, so that the study reports it as missing."""
    if entry.name.startswith("."):
        return "hidden"
    suffix = Path(entry.name).suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        return f"with the ending {shown(suffix)}" if suffix else "without an ending"
    return "" if entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists()) else "not regular files"


def _is_text(name: str) -> bool:
    """Whether a file name is valid text; undecodable bytes in it would have become lone surrogates."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def _is_image(entry: os.DirEntry[str]) -> bool:
    return entry.is_file() and not _reason(entry)


def _walk(
    folder: str, above: tuple[tuple[int, int], ...], relative: str = ""
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """All entries in and below a folder that are not folders; links are followed, except into a folder above them."""
    here = _identity(Path(folder))
    if here in above:
        return
    below = []
    for entry in _entries(folder):
        if entry.is_dir() and not entry.name.startswith("."):
            below.append(entry)
        else:
            yield relative + entry.name, entry
    for entry in below:
        yield from _walk(entry.path, (*above, here), f"{relative}{entry.name}/")


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _entries(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)

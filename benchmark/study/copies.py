"""Find images that occur twice: one file under two names, or copies of a file. No image is decoded."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

_SAMPLE = 4096  # bytes, at a few positions; uncompressed images of one camera all have the same size


class File(NamedTuple):
    """A file as the file system knows it: equal for all names of one file, links included."""

    key: Hashable
    size: int  # bytes; 0 if the file is missing


def look_up(path: str) -> File:
    """Look up a path in the file system; a missing file is identified by its path only."""
    try:
        found = os.stat(path)  # noqa: PTH116 - Path takes several times as long, for each of 100,000 images
    except (OSError, ValueError):
        plain = os.path.normpath(path)  # `x/../a.jpg` names a.jpg, whether or not there is a folder x
        return look_up(plain) if plain != path else File(path, 0)
    if not found.st_ino:  # a file system without inode numbers
        return File(os.path.realpath(path), found.st_size)
    # Size and time are included because some network file systems use one inode number twice.
    return File((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns), found.st_size)


def grouped(paths: Sequence[str], files: Sequence[File]) -> list[list[int]]:
    """Group the positions of images that occur more than once, as the same file or as files of equal content.

    Args:
        files: the result of `look_up` for each of `paths`.
    """
    by_file: dict[File, list[int]] = defaultdict(list)
    for place, file in enumerate(files):
        by_file[file].append(place)
    names = list(by_file.values())
    distinct = [places[0] for places in names]
    equal = copies([paths[place] for place in distinct], [files[place] for place in distinct])
    joined = [sorted(place for number in group for place in names[number]) for group in equal]
    copied = {number for group in equal for number in group}
    linked = [places for number, places in enumerate(names) if len(places) > 1 and number not in copied]
    return sorted(joined + linked)


def copies(paths: Sequence[str], files: Sequence[File]) -> list[list[int]]:
    """Group the positions of distinct files with equal content.

    Only files of equal size are opened, and they are read in full only if samples of them are equal. Empty and missing
    files are never copies.

    Args:
        files: the result of `look_up` for each of `paths`, without duplicates.
    """
    by_size: dict[int, list[int]] = defaultdict(list)
    for place, file in enumerate(files):
        if file.size:
            by_size[file.size].append(place)
    alike = _divided(by_size.values(), paths, _sample)
    return sorted(_divided(alike, paths, _digest))


def _divided(
    groups: Iterable[list[int]], paths: Sequence[str], key: Callable[[str], bytes | None]
) -> Iterator[list[int]]:
    """Divide groups by the `key` of their files and keep those of two or more; unreadable files are left out."""
    for group in groups:
        if len(group) > 1:
            parts: dict[bytes, list[int]] = defaultdict(list)
            for place in group:
                value = key(paths[place])
                if value is not None:
                    parts[value].append(place)
            yield from (part for part in parts.values() if len(part) > 1)


def _sample(path: str) -> bytes | None:
    try:
        with Path(path).open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            return b"".join(os.pread(file.fileno(), _SAMPLE, size * place // 8) for place in (4, 5, 7))
    except OSError:
        return None


def _digest(path: str) -> bytes | None:
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None

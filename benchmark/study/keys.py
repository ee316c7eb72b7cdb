"""The keys of a configuration: those that its JSON Schema defines, and the positions of the lists in its values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import UserError

Key = tuple[str | int, ...]
Schema = Mapping[str, Any]
_PATHS = ("path", "file-path", "directory-path")  # pydantic's formats of Path, FilePath and DirectoryPath


@dataclass(frozen=True)
class Keys:
    """The keys that a schema defines.

    Attributes:
        schema: the JSON Schema that pydantic writes for the whole configuration.
    """

    schema: Schema

    def known(self, section: Key, values: Any) -> list[str]:
        """The keys of a section."""
        return [str(part) for part in _below(*self._at(section, values))]

    def absolute(self, values: Any, folder: Path) -> Any:
        """Make all paths in the values of a whole configuration absolute.

        Args:
            folder: the folder that relative paths start from; `~` is the home folder.
        """
        return _absolute(self._root, values, folder)

    def replaced(self, values: Any, dotted: str, value: Any, folder: Path) -> Any:
        """Replace one value of a whole configuration.

        Args:
            dotted: the key, with list positions, as in `backbones.0.weights`.
            folder: the folder that relative paths in `value` start from.

        Raises:
            UserError: the key or position is unknown; the message names the nearest known key.
        """
        known = {".".join(map(str, key)): key for key in _every(self._root, values)}
        if dotted not in known:
            raise UserError(f"--set {dotted}: {_unknown(dotted, known, values)}")
        shape, _ = self._at(known[dotted], values)
        return _replaced(values, known[dotted], _absolute(shape, value, folder))

    @property
    def _root(self) -> "_Shape":
        return _Shape(self.schema, self.schema)

    def _at(self, key: Key, values: Any) -> tuple["_Shape", Any]:
        shape = self._root
        for part in key:
            shape, values = _below(shape, values)[part], _inner(values, part)
        return shape, values


@dataclass(frozen=True)
class _Shape:
    """The part of a schema that describes one value; `whole` is the schema that its references point into."""

    part: Schema
    whole: Schema

    def options(self) -> list[Schema]:
        """The alternatives, with references followed."""
        if "$ref" in self.part:
            name = self.part["$ref"].rpartition("/")[2]
            return _Shape(self.whole["$defs"][name], self.whole).options()
        if "anyOf" in self.part:
            return [option for part in self.part["anyOf"] for option in _Shape(part, self.whole).options()]
        return [self.part]


def _below(shape: _Shape, value: Any) -> dict[str | int, _Shape]:
    """The keys that a value may have, or the positions of a list."""
    found: dict[str | int, Schema] = {}
    for option in _fitting(shape.options(), value):
        found.update(option["properties"])
    for option in shape.options():
        if isinstance(value, list) and "items" in option:
            found.update((place, option["items"]) for place in range(len(value)))
        if isinstance(value, dict) and isinstance(option.get("additionalProperties"), dict):  # a mapping of any keys
            found.update((key, option["additionalProperties"]) for key in value)
    return {part: _Shape(inner, shape.whole) for part, inner in found.items()}


def _fitting(options: list[Schema], value: Any) -> list[Schema]:
    """The alternatives with keys that fit a value; if options depend on a name, only those of this name.

    All of them fit an absent section. A choice may be written as its name only.
    """
    with_keys = [option for option in options if "properties" in option]
    if isinstance(value, str):
        value = {"name": value}
        with_keys = [option for option in with_keys if "name" in option["properties"]]
    elif not isinstance(value, dict | None):
        return []
    name = (value or {}).get("name")
    named = [option for option in with_keys if option["properties"].get("name", {}).get("const", name) == name]
    return named or with_keys


def _inner(value: Any, part: str | int) -> Any:
    if isinstance(value, list) and isinstance(part, int):
        return value[part]
    return value.get(part) if isinstance(value, dict) else None


def _every(shape: _Shape, value: Any, key: Key = ()) -> Iterator[Key]:
    for part, inner in _below(shape, value).items():
        yield (*key, part)
        yield from _every(inner, _inner(value, part), (*key, part))


def _absolute(shape: _Shape, value: Any, folder: Path) -> Any:
    if isinstance(value, str) and any(option.get("format") in _PATHS for option in shape.options()):
        return str(folder / Path(value).expanduser())
    nothing, below = _Shape({}, shape.whole), _below(shape, value)
    match value:
        case dict():
            return {part: _absolute(below.get(part, nothing), inner, folder) for part, inner in value.items()}
        case list():
            return [_absolute(below.get(part, nothing), inner, folder) for part, inner in enumerate(value)]
    return value


def _replaced(old: Any, key: Key, value: Any) -> Any:
    if not key:
        return value
    part, *rest = key
    new = _replaced(_inner(old, part), tuple(rest), value)
    if isinstance(old, list):
        return [new if place == part else inner for place, inner in enumerate(old)]
    section = {"name": old} if isinstance(old, str) else old or {}
    return section | {part: new}


def _unknown(dotted: str, known: Mapping[str, Key], values: Any) -> str:
    """Explain why a key is unknown and suggest the nearest known key, if possible one with the same last part."""
    from backbones.naming import did_you_mean  # imports torch

    same = [other for other in known if other.rpartition(".")[2] == dotted.rpartition(".")[2]]
    hint = did_you_mean(dotted, same or known, f"known: {', '.join(key for key in known if '.' not in key)}")
    for part in dotted.split("."):
        if isinstance(values, list) and part.isdecimal() and int(part) >= len(values):
            return f"position {part} does not exist in a list of length {len(values)} (positions start at 0); {hint}"
        values = _inner(values, int(part) if isinstance(values, list) and part.isdecimal() else part)
    return f"unknown key; {hint}"

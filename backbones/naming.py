"""Names in a configuration: what they stand for, and suggestions for misspelt ones."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

Entry = TypeVar("Entry")


class Registry(Mapping[str, Entry]):
    """What a configuration can name, by name: backbones, strategies, explanation methods, vessel sources.

    A package registers its own entries when it is imported; so can a user's.

    Args:
        kind: what the entries are, as messages call one: `backbone`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def register(self, name: str, entry: Entry) -> Entry:
        """Add an entry and return it.

        Raises:
            ValueError: the name is already registered.
        """
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice; give one of them another name")
        self._entries[name] = entry
        return entry

    def find(self, name: str) -> Entry:
        """The entry of a name.

        Raises:
            ValueError: no entry has this name; the message has similar names, or all.
        """
        if name not in self._entries:
            hint = did_you_mean(name, self, f"known: {', '.join(self)}")
            raise ValueError(f"{self.kind} {name!r} is unknown; {hint}")
        return self._entries[name]

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        """The names in the order of registration."""
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """A hint for an error message.

    Args:
        name: the name that was not found; upper and lower case are the same.
        known: the known names.
        otherwise: the hint if no known name is similar.

    Returns:
        `did you mean ...?` with the one or two most similar names, or `otherwise`.
    """
    written = {each.lower(): each for each in known}
    near = [written[each] for each in difflib.get_close_matches(name.lower(), list(written), n=2, cutoff=0.4)]
    return f"did you mean {' or '.join(near)}?" if near else otherwise

"""Interpret the cells of a user's table: which texts are values, and which spellings mean the same value."""

import re
import unicodedata

# What pandas, R, spreadsheets, registries and users write for a missing value; compared without case.
_NOTHING = frozenset(
    {"na", "nan", "n/a", "n.a.", "n.a", "<na>", "nat", "none", "null", "nil", "unknown", "unk", "missing", "undefined"}
    | {"not available", "not applicable", "not known", "anonymous", "anonymized", "anonymised", "tbd", "n/k", "-nan"}
)
_SHEET_ERROR = re.compile(r"#(n/a|ref!|name\?|value!|div/0!|null!|num!|n/d|nv|wert!|bezug!|spill!|calc!|#+)", re.I)
_ROUNDED = re.compile(r"\d[.,]\d+e[+-]?\d+|\de\+\d+")  # 1.23457E+11, as a spreadsheet shows a long number
_WHOLE = re.compile(r"0*(\d+)([.,]00?)?")
_LONGEST = 16  # letters of the words above
_SHOWN = 80


def means_nothing(text: str) -> bool:
    """Whether a text stands for a missing value: NA, nan, None, n/a, -, ?, #REF!, …"""
    if len(text) > _LONGEST and text.isascii() and text[0] != "#":
        return False
    plain = _plain(text)
    return plain in _NOTHING or is_sheet_error(plain) or not any(letter.isalnum() for letter in plain)


def is_sheet_error(text: str) -> bool:
    """Whether a text is what a spreadsheet shows for a failed formula: #REF!, #N/A, ####."""
    return _SHEET_ERROR.fullmatch(text) is not None


def is_rounded(text: str) -> bool:
    """Whether a text is a long number that a spreadsheet or a script has rounded, so that its last digits are lost."""
    return len(text) < 32 and _ROUNDED.fullmatch(_plain(text)) is not None


def spelling_of(text: str) -> str:
    """A key that is equal for texts that a reader considers the same.

    It ignores case, the script of digits, Unicode forms, kinds of dashes and spaces, and invisible characters. For
    numbers, it also ignores leading zeros and `.0`, which tools add and drop.
    """
    plain = _plain(text)
    whole = _WHOLE.fullmatch(plain)
    return whole[1] if whole else plain


def shown(text: str) -> str:
    """A text from a file in a form that is safe for a terminal: one line, no control characters, not too long."""
    safe = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return safe if len(safe) <= _SHOWN else safe[: _SHOWN - 1] + "…"


def _plain(text: str) -> str:
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join("".join(map(_plain_letter, folded)).split())


def _plain_letter(letter: str) -> str:
    match unicodedata.category(letter):
        case "Cf":  # invisible: zero-width spaces, byte-order marks
            return ""
        case "Pd":
            return "-"
        case "Nd":
            return str(unicodedata.decimal(letter))
    return letter

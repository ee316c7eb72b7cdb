"""Variables that a library reads while it is imported, and fails on: nothing can run before they are correct."""

import os
from collections.abc import Callable
from urllib.parse import urlsplit

from benchmark.errors import UserError

# huggingface_hub's, which timm imports.
_READ_AT_IMPORT: dict[str, tuple[Callable[[str], object], str]] = {
    "HF_HUB_ETAG_TIMEOUT": (int, "a whole number of seconds"),
    "HF_HUB_DOWNLOAD_TIMEOUT": (int, "a whole number of seconds"),
    "HF_ENDPOINT": (lambda value: urlsplit(value).port, "an address such as https://huggingface.co"),
}


def require_readable() -> None:
    """Check them before anything is imported that reads them.

    Raises:
        UserError: naming the variable.
    """
    for name, (read, wanted) in _READ_AT_IMPORT.items():
        value = os.environ.get(name)
        try:
            if value is not None:
                read(value)
        except ValueError:
            raise UserError(f"{name} is {value!r}, not {wanted}: correct it, or unset it") from None

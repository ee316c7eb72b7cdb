"""Check environment variables that a library reads on import; if one is invalid, the import fails."""

import os
from collections.abc import Callable
from urllib.parse import urlsplit

from benchmark.errors import UserError

# Read by huggingface_hub, which timm imports.
_READ_AT_IMPORT: dict[str, tuple[Callable[[str], object], str]] = {
    "HF_HUB_ETAG_TIMEOUT": (int, "a whole number of seconds"),
    "HF_HUB_DOWNLOAD_TIMEOUT": (int, "a whole number of seconds"),
    "HF_ENDPOINT": (lambda value: urlsplit(value).port, "an address such as https://huggingface.co"),
}


def require_readable() -> None:
    """Check the variables before a library that reads them is imported.

    Raises:
        UserError: a variable is invalid; the message names it.
    """
    for name, (read, wanted) in _READ_AT_IMPORT.items():
        value = os.environ.get(name)
        try:
            if value is not None:
                read(value)
        except ValueError:
            raise UserError(f"{name} is {value!r}, not {wanted}: correct it, or unset it") from None

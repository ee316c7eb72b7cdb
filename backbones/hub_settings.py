"""Checks the environment variables of the hub's client before the hub is contacted.

For a faulty variable the client raises an error of any kind (`ValueError`, `ImportError`, `UnicodeEncodeError`,
`FileNotFoundError`, …), and its text can contain the token. The messages here name the variable and the fix, and
contain no secrets.
"""

import importlib.util
import os
import re
import ssl
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from huggingface_hub import constants

PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
SOCKS = "socks"
# The characters of a bearer token by RFC 6750.
NOT_OF_A_TOKEN = re.compile(r"[^A-Za-z0-9._~+/=-]")
NOT_OF_A_HOST = re.compile(r"[^\w.:%-]")


def fault() -> str | None:
    """The first faulty setting, the reason and, after a colon, the fix, in one line; None if all settings can work."""
    checks = (_endpoint, _proxies, _certificates, token_fault)
    return next((found for check in checks if (found := check()) is not None), None)


def token_fault() -> str | None:
    """The fault of the hub's token, as in `fault`; None if there is no token or no fault is found."""
    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return None  # the client then sends no token
    place = next((name for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") if os.environ.get(name)), None)
    try:
        token = os.environ[place] if place else Path(constants.HF_TOKEN_PATH).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{constants.HF_TOKEN_PATH} cannot be read ({error.strerror}): set HF_HOME to a readable folder"
    except UnicodeDecodeError:
        return f"{constants.HF_TOKEN_PATH} does not contain a token: remove it, or log in again"
    odd = NOT_OF_A_TOKEN.search(token.replace("\r", "").replace("\n", "").strip())  # as the client does
    if odd is None:
        return None
    fix = f"set {place} to the token alone" if place else "log in again"
    return f"the token in {place or constants.HF_TOKEN_PATH} contains {_shown(odd[0])}, which no token does: {fix}"


def proxy_variable() -> str | None:
    """The environment variable that names the proxy for the hub; None without a proxy."""
    host, proxies = urlsplit(constants.ENDPOINT), _in_use()
    scheme = next((scheme for scheme in (host.scheme, "all") if proxies.get(scheme)), None)
    return None if scheme is None or proxy_bypass(host.netloc) else _spelt(scheme)


def cache_variable() -> str:
    """The environment variable that sets the folder of the hub's cache."""
    return next((name for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE") if os.environ.get(name)), "HF_HOME")


def _endpoint() -> str | None:
    why = _not_an_address(constants.ENDPOINT, ("https", "http"))
    return f"HF_ENDPOINT is {_masked(constants.ENDPOINT)!r}, {why}: correct it, or unset it" if why else None


def _in_use() -> dict[str, str]:
    """The proxies in the environment by scheme, as the hub's client reads them."""
    proxies = getproxies()
    return {} if "*" in [host.strip() for host in proxies.get("no", "").split(",")] else proxies


def _proxies() -> str | None:
    proxies = _in_use()
    for scheme in ("http", "https", "all"):
        if not proxies.get(scheme):
            continue
        address = proxies[scheme] if "://" in proxies[scheme] else f"http://{proxies[scheme]}"
        setting = f"{_spelt(scheme)} is {_masked(proxies[scheme])!r}"
        if why := _not_an_address(address, PROXY_SCHEMES):
            return f"{setting}, {why}: correct it, or unset it"
        if address.startswith(SOCKS) and importlib.util.find_spec("socksio") is None:
            return (
                f"{setting}, and a SOCKS proxy needs the package socksio: pip install socksio, or name an http:// "
                "proxy, or unset it"
            )
    return None


def _spelt(scheme: str) -> str:
    """`https_proxy` as it is spelt in the environment; lower case takes precedence."""
    name = f"{scheme}_proxy"
    return name if os.environ.get(name) else next((key for key in os.environ if key.lower() == name), name)


def _not_an_address(text: str, schemes: tuple[str, ...]) -> str | None:
    """The reason why a text is not a URL with one of these schemes, or None."""
    try:
        address = urlsplit(text)
        _ = address.port  # raises as well
    except ValueError as error:
        return f"not an address ({str(error).split(' as ')[0]})"  # the rest may contain part of a password
    if address.scheme not in schemes:
        return f"not an address that begins with {', '.join(f'{scheme}://' for scheme in schemes)}"
    if not address.hostname:
        return "which has no host"
    odd = NOT_OF_A_HOST.search(address.hostname)
    return f"which has {_shown(odd[0])} in its host name" if odd else None


def _masked(address: str) -> str:
    """The address without the name and password that it may contain."""
    scheme, separator, rest = address.rpartition("://")
    _, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{'…@' if at else ''}{host}"


def _certificates() -> str | None:
    file, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file:
        try:
            ssl.create_default_context(cafile=file)
        except ssl.SSLError:
            why = "which contains no certificates"
        except OSError as error:
            why = f"which cannot be read ({error.strerror})"
        else:
            return None
        return f"SSL_CERT_FILE names {file}, {why}: name a file of certificates (PEM), or unset it"
    if folders and constants.ENDPOINT.startswith("https") and not any(map(os.path.isdir, folders.split(os.pathsep))):
        return f"SSL_CERT_DIR names {folders}, which is not a folder: name a folder of certificates, or unset it"
    return None


def _shown(character: str) -> str:
    code = f"U+{ord(character):04X}"
    if character.isspace():
        return f"a space ({code})"
    return f"{character} ({code})" if character.isprintable() else code

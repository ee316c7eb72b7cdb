"""What in the environment keeps the hub's client from working, found before the hub is asked.

The client answers a faulty variable with whatever its parts raise (`ValueError`, `ImportError`, `UnicodeEncodeError`,
`FileNotFoundError`, …) and with text that can hold the token. What is found here has a name and a fix, and no secrets.
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
# RFC 6750's characters of a bearer token.
NOT_OF_A_TOKEN = re.compile(r"[^A-Za-z0-9._~+/=-]")
NOT_OF_A_HOST = re.compile(r"[^\w.:%-]")


def fault() -> str | None:
    """The first setting that cannot work and why, with the fix after a colon, in one line; None where there is none."""
    checks = (_endpoint, _proxies, _certificates, token_fault)
    return next((found for check in checks if (found := check()) is not None), None)


def token_fault() -> str | None:
    """What is wrong with the hub's token itself, as in `fault`; None for one that may be right, and where none is."""
    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return None  # then the client sends none
    place = next((name for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") if os.environ.get(name)), None)
    try:
        token = os.environ[place] if place else Path(constants.HF_TOKEN_PATH).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{constants.HF_TOKEN_PATH} cannot be read ({error.strerror}): set HF_HOME to a folder that you can use"
    except UnicodeDecodeError:
        return f"{constants.HF_TOKEN_PATH} does not hold a token: remove it, or log in again"
    odd = NOT_OF_A_TOKEN.search(token.replace("\r", "").replace("\n", "").strip())  # as the client does
    if odd is None:
        return None
    fix = f"set {place} to the token alone" if place else "log in again"
    return f"the token in {place or constants.HF_TOKEN_PATH} holds {_shown(odd[0])}, which no token does: {fix}"


def proxy_variable() -> str | None:
    """The variable that names the proxy between here and the hub, or None."""
    host, proxies = urlsplit(constants.ENDPOINT), _in_use()
    scheme = next((scheme for scheme in (host.scheme, "all") if proxies.get(scheme)), None)
    return None if scheme is None or proxy_bypass(host.netloc) else _spelt(scheme)


def cache_variable() -> str:
    """The variable that decides where the hub's cache is."""
    return next((name for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE") if os.environ.get(name)), "HF_HOME")


def _endpoint() -> str | None:
    why = _not_an_address(constants.ENDPOINT, ("https", "http"))
    return f"HF_ENDPOINT is {_masked(constants.ENDPOINT)!r}, {why}: correct it, or unset it" if why else None


def _in_use() -> dict[str, str]:
    """The proxies of the environment by scheme, as the hub's client takes them."""
    proxies = getproxies()
    return {} if "*" in [host.strip() for host in proxies.get("no", "").split(",")] else proxies


def _proxies() -> str | None:
    proxies = _in_use()
    for scheme in ("http", "https", "all"):
        if not proxies.get(scheme):
            continue
        address = proxies[scheme] if "://" in proxies[scheme] else f"http://{proxies[scheme]}"
        told = f"{_spelt(scheme)} is {_masked(proxies[scheme])!r}"
        if why := _not_an_address(address, PROXY_SCHEMES):
            return f"{told}, {why}: correct it, or unset it"
        if address.startswith(SOCKS) and importlib.util.find_spec("socksio") is None:
            return (
                f"{told}, and a SOCKS proxy needs a package: pip install socksio, or name an http:// proxy, or unset it"
            )
    return None


def _spelt(scheme: str) -> str:
    """`https_proxy` as it is spelt in the environment; of two spellings the lower case counts."""
    name = f"{scheme}_proxy"
    return name if os.environ.get(name) else next((key for key in os.environ if key.lower() == name), name)


def _not_an_address(text: str, schemes: tuple[str, ...]) -> str | None:
    """Why a URL cannot be one of these schemes', or None."""
    try:
        address = urlsplit(text)
        _ = address.port  # raises, too
    except ValueError as error:
        return f"not an address ({str(error).split(' as ')[0]})"  # what follows may be part of a password
    if address.scheme not in schemes:
        return f"not an address that begins with {', '.join(f'{scheme}://' for scheme in schemes)}"
    if not address.hostname:
        return "without a host"
    odd = NOT_OF_A_HOST.search(address.hostname)
    return f"with {_shown(odd[0])} in the host's name" if odd else None


def _masked(address: str) -> str:
    """Without the name and password that a proxy's address may hold."""
    scheme, separator, rest = address.rpartition("://")
    _, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{'…@' if at else ''}{host}"


def _certificates() -> str | None:
    file, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file:
        try:
            ssl.create_default_context(cafile=file)
        except ssl.SSLError:
            why = "which holds no certificates"
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

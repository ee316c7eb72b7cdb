"""Published weights: a file in a Hugging Face repository, in the hub's cache or downloaded into it."""

import errno
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from backbones import hub_settings
from backbones.loading import WeightsError

# By name: from release to release of the hub, its HTTP client is httpx or httpx2.
UNREACHED = ("ConnectError", "ConnectTimeout", "ReadTimeout", "UnsupportedProtocol")


@dataclass(frozen=True)
class HubFile:
    """A file in a Hugging Face repository.

    Attributes:
        repository: `owner/name`.
        file: its path in the repository.
        gated: whether terms must be accepted before it can be downloaded.
        revision: branch, tag or commit.
        fallback: the file's name in repositories that have not been given `file`, safetensors for the most part.
    """

    repository: str
    file: str
    gated: bool = False
    revision: str = "main"
    fallback: str | None = None

    def __str__(self) -> str:
        return f"{self.repository}/{self.file}"

    @property
    def names(self) -> tuple[str, ...]:
        """What the file may be called, best first."""
        return (self.file, self.fallback) if self.fallback else (self.file,)

    def cached(self) -> Path | None:
        """Where the hub's cache holds the file, or None; also of a cache that cannot be read."""
        for name in self.names:
            try:
                path = try_to_load_from_cache(self.repository, name, revision=self.revision)
            except (OSError, UnicodeDecodeError):  # `fetch` says what is wrong with it, once it has to be written
                return None
            if isinstance(path, str):
                return Path(path)
        return None

    def fetch(self) -> Path:
        """The file from the hub's cache, without any connection; else downloaded into it.

        Raises:
            WeightsError: not to be had; the message says why and what to do.
        """
        return self.cached() or self._download()

    def commit(self, path: Path) -> str | None:
        """The commit under which the hub's cache holds `path`; None for a file that is elsewhere."""
        repository = repo_folder_name(repo_id=self.repository, repo_type="model")
        snapshots = (Path(constants.HF_HUB_CACHE) / repository / "snapshots").resolve()
        folder = path.parent.resolve()  # not of the file: in the cache it is a link to elsewhere
        return folder.relative_to(snapshots).parts[0] if snapshots in folder.parents else None

    def reason(self, error: Exception) -> str:
        """Why the file is not to be had, and the mend behind a colon, in one line.

        Args:
            error: what `huggingface_hub` raised when it was asked for the file, or for its metadata alone.
        """
        # What stopped the first request is the cause of an error that says no more than "not in the cache".
        absent = isinstance(error, LocalEntryNotFoundError)
        cause = error.__cause__ if absent and error.__cause__ else error
        status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else None
        page = f"huggingface.co/{self.repository}"
        if isinstance(cause, OfflineModeIsEnabled):
            by = "TRANSFORMERS_OFFLINE" if os.environ.get("TRANSFORMERS_OFFLINE") else "HF_HUB_OFFLINE"
            by = "HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE") else by
            return f"not in the hub's cache, and {by} forbids to download it: unset that"
        if isinstance(cause, RevisionNotFoundError):
            return f"the repository has no revision {self.revision!r}: correct `revision:`"
        if isinstance(cause, RemoteEntryNotFoundError):
            return f"the repository has no such file at revision {self.revision!r}: correct `revision:`"
        if status == 403:
            return (
                f"your token has no access (403): accept the terms on {page} with the account it belongs to, and allow "
                "it gated repositories if it is fine-grained"
            )
        if isinstance(cause, GatedRepoError):
            return f"gated, and no token was sent (401): accept the terms on {page}, then set HF_TOKEN"
        if isinstance(cause, RepositoryNotFoundError):
            return "no such repository, or a private one: if you have access to it, set HF_TOKEN"
        if status == 401:
            return "the hub refuses your token (401): set HF_TOKEN to a valid one"
        if status is not None:
            return f"the hub answers with an error ({status}): try again later"
        if any(isinstance(part, ssl.SSLCertVerificationError) for part in _chain(cause)):
            return (
                f"the certificate of {constants.ENDPOINT} is not trusted here: set SSL_CERT_FILE to a file with the "
                "certificates of your institution (PEM)"
            )
        named = hub_settings.proxy_variable()
        proxy = f"the proxy in {named}" if named else "the proxy"
        if type(cause).__name__ == "ProxyError":
            return f"{proxy} refuses ({_first_line(cause)}): correct its address, name and password"
        if absent or type(cause).__name__ in UNREACHED:
            return (
                f"not in the hub's cache, and the hub cannot be reached ({type(cause).__name__}): check the network, "
                f"{proxy} and HF_ENDPOINT"
            )
        if isinstance(error, OSError):
            return _storage(error) or f"the download broke off ({type(error).__name__}): run the same command again"
        if isinstance(error, (HTTPError, RuntimeError)):  # RuntimeError is what the hub's Xet client raises
            return f"the download broke off ({type(error).__name__}): run the same command again"
        # Not the error's text: it may hold the token.
        return (
            f"the hub's client cannot work here ({type(error).__name__}): check the variables HF_*, SSL_CERT_* and "
            "*_PROXY"
        )

    def _download(self) -> Path:
        reason = hub_settings.fault()
        if reason is None:
            try:
                return self._from_hub()
            except Exception as error:  # whatever the client and its parts raise in surroundings that nobody foresaw
                raise self._refused(self.reason(error)) from error
        raise self._refused(reason)

    def _from_hub(self) -> Path:
        try:
            return Path(hf_hub_download(self.repository, self.file, revision=self.revision))
        except RemoteEntryNotFoundError:
            if not self.fallback:
                raise
            return Path(hf_hub_download(self.repository, self.fallback, revision=self.revision))

    def _refused(self, reason: str) -> WeightsError:
        by_hand = f"download {self.file} from huggingface.co/{self.repository} elsewhere and name it as `weights:`"
        return WeightsError(f"{self}: {reason}; or {by_hand}")


def _storage(error: OSError) -> str | None:
    """What is wrong with the hub's cache, and the fix, or None for an error that is not of writing to it."""
    variable = hub_settings.cache_variable()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left for it in {constants.HF_HUB_CACHE}: make some, or set {variable} to a folder elsewhere"
    places = [Path(place).absolute() for place in (constants.HF_HUB_CACHE, constants.HF_HOME)]
    file = Path(os.fsdecode(error.filename)).absolute() if isinstance(error.filename, str | bytes) else None
    # Of the cache, or a folder above it that would have to be made first.
    if file is not None and any(place in (file, *file.parents) or file in place.parents for place in places):
        return f"the hub's cache cannot be written ({error.strerror}: {file}): set {variable} to a folder that can"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]

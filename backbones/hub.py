"""Published weights: a file in a Hugging Face repository, found in the hub's cache or downloaded into it."""

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

# Class names, because the hub's HTTP client is httpx or httpx2, depending on the release.
UNREACHED = ("ConnectError", "ConnectTimeout", "ReadTimeout", "UnsupportedProtocol")


@dataclass(frozen=True)
class HubFile:
    """A file in a Hugging Face repository.

    Attributes:
        repository: `owner/name`.
        file: its path in the repository.
        gated: True if terms must be accepted before the file can be downloaded.
        revision: a branch, a tag or a commit.
        fallback: the file's name in repositories that do not contain `file` (most often older repositories without
            safetensors).
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
        """The possible names of the file, best first."""
        return (self.file, self.fallback) if self.fallback else (self.file,)

    def cached(self) -> Path | None:
        """The file's path in the hub's cache; None if it is not there or the cache cannot be read."""
        for name in self.names:
            try:
                path = try_to_load_from_cache(self.repository, name, revision=self.revision)
            except (OSError, UnicodeDecodeError):  # `fetch` reports the fault when it has to write to the cache
                return None
            if isinstance(path, str):
                return Path(path)
        return None

    def fetch(self) -> Path:
        """The file's path in the hub's cache. The file is downloaded first if the cache does not contain it.

        Raises:
            WeightsError: the file is not available; the message states the reason and the fix.
        """
        return self.cached() or self._download()

    def commit(self, path: Path) -> str | None:
        """The commit to which `path` belongs in the hub's cache; None for a file outside the cache."""
        repository = repo_folder_name(repo_id=self.repository, repo_type="model")
        snapshots = (Path(constants.HF_HUB_CACHE) / repository / "snapshots").resolve()
        folder = path.parent.resolve()  # the folder's path, because the file in it is a link to another folder
        return folder.relative_to(snapshots).parts[0] if snapshots in folder.parents else None

    def reason(self, error: Exception) -> str:
        """The reason why the file is not available and, after a colon, the fix, in one line.

        Args:
            error: the error that `huggingface_hub` raised when the file or its metadata were requested.
        """
        # A LocalEntryNotFoundError only reports "not in the cache"; its cause is the error of the first request.
        absent = isinstance(error, LocalEntryNotFoundError)
        cause = error.__cause__ if absent and error.__cause__ else error
        status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else None
        page = f"huggingface.co/{self.repository}"
        if isinstance(cause, OfflineModeIsEnabled):
            by = "TRANSFORMERS_OFFLINE" if os.environ.get("TRANSFORMERS_OFFLINE") else "HF_HUB_OFFLINE"
            by = "HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE") else by
            return f"not in the hub's cache, and {by} forbids the download: unset {by}"
        if isinstance(cause, RevisionNotFoundError):
            return f"the repository has no revision {self.revision!r}: correct `revision:`"
        if isinstance(cause, RemoteEntryNotFoundError):
            return f"the repository has no such file at revision {self.revision!r}: correct `revision:`"
        if status == 403:
            return (
                f"your token has no access (403): accept the terms on {page} with the token's account, and allow a "
                "fine-grained token access to gated repositories"
            )
        if isinstance(cause, GatedRepoError):
            return f"gated, and no token was sent (401): accept the terms on {page}, then set HF_TOKEN"
        if isinstance(cause, RepositoryNotFoundError):
            return "no such repository, or a private one: if you have access to it, set HF_TOKEN"
        if status == 401:
            return "the hub refuses your token (401): set HF_TOKEN to a valid one"
        if status is not None:
            return f"the hub returned an error ({status}): try again later"
        if any(isinstance(part, ssl.SSLCertVerificationError) for part in _chain(cause)):
            return (
                f"the certificate of {constants.ENDPOINT} is not trusted: set SSL_CERT_FILE to a file with the "
                "certificates of your institution (PEM)"
            )
        named = hub_settings.proxy_variable()
        proxy = f"the proxy in {named}" if named else "the proxy"
        if type(cause).__name__ == "ProxyError":
            return f"{proxy} refuses the connection ({_first_line(cause)}): correct its address, name and password"
        if absent or type(cause).__name__ in UNREACHED:
            return (
                f"not in the hub's cache, and the hub cannot be reached ({type(cause).__name__}): check the network, "
                f"{proxy} and HF_ENDPOINT"
            )
        if isinstance(error, OSError):
            return _storage(error) or f"the download was interrupted ({type(error).__name__}): repeat the same command"
        if isinstance(error, (HTTPError, RuntimeError)):  # the hub's Xet client raises RuntimeError
            return f"the download was interrupted ({type(error).__name__}): repeat the same command"
        # Without the error's text, which may contain the token.
        return (
            f"the hub's client failed ({type(error).__name__}): check the variables HF_*, SSL_CERT_* and *_PROXY in "
            "the environment"
        )

    def _download(self) -> Path:
        reason = hub_settings.fault()
        if reason is None:
            try:
                return self._from_hub()
            except Exception as error:  # the client and its dependencies raise errors of any kind
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
    """The fault of the hub's cache and the fix; None for an error that does not come from writing to the cache."""
    variable = hub_settings.cache_variable()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left in {constants.HF_HUB_CACHE}: free some, or set {variable} to a folder on another disk"
    places = [Path(place).absolute() for place in (constants.HF_HUB_CACHE, constants.HF_HOME)]
    file = Path(os.fsdecode(error.filename)).absolute() if isinstance(error.filename, str | bytes) else None
    # The file is in the cache, or it is a parent folder that would have to be created first.
    if file is not None and any(place in (file, *file.parents) or file in place.parents for place in places):
        return f"the hub's cache cannot be written ({error.strerror}: {file}): set {variable} to a writable folder"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]

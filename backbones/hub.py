"""Published weights: a file in a Hugging Face repository, in the hub's cache or downloaded into it."""

import errno
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

from backbones.weights import WeightsError

# By name: from release to release of the hub, its HTTP client is httpx or httpx2.
UNREACHED = ("ConnectError", "ConnectTimeout", "ReadTimeout", "ProxyError", "UnsupportedProtocol")


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
        """Where the hub's cache holds the file, or None."""
        for name in self.names:
            path = try_to_load_from_cache(self.repository, name, revision=self.revision)
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
            return "not in the hub's cache, and HF_HUB_OFFLINE forbids to download it: unset that"
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
        if absent or type(cause).__name__ in UNREACHED:
            return (
                f"not in the hub's cache, and the hub cannot be reached ({type(cause).__name__}): check the network, "
                "the proxy and HF_ENDPOINT"
            )
        number = error.errno if isinstance(error, OSError) else None
        if number in (errno.ENOSPC, errno.EDQUOT):
            return f"no space left for it in {constants.HF_HUB_CACHE}: make some, or set HF_HOME to a folder elsewhere"
        if number is not None:
            return f"the hub's cache cannot be written ({error}): set HF_HOME to a folder that can"
        return f"the download broke off ({type(error).__name__}): run the same command again"

    def _download(self) -> Path:
        try:
            try:
                return Path(hf_hub_download(self.repository, self.file, revision=self.revision))
            except RemoteEntryNotFoundError:
                if not self.fallback:
                    raise
                return Path(hf_hub_download(self.repository, self.fallback, revision=self.revision))
        except (HTTPError, OSError, RuntimeError) as error:  # RuntimeError is what the hub's Xet client raises
            by_hand = f"download {self.file} from huggingface.co/{self.repository} elsewhere and name it as `weights:`"
            raise WeightsError(f"{self}: {self.reason(error)}; or {by_hand}") from error

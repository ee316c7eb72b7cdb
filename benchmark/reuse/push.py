"""push: a trial's weights, model card and configuration in a repository of a Hugging Face hub."""

from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape

from backbones import hub_settings
from backbones.hub import UNREACHED
from benchmark.errors import UserError
from benchmark.reuse.finished import Finished
from finetune.trained import ADAPTER_FILE, ADAPTER_WEIGHTS_FILE, WEIGHTS_FILE

# All that leaves this machine: maps, scores and figures are of patients, and other files name folders of this machine.
SHARED = (WEIGHTS_FILE, ADAPTER_WEIGHTS_FILE, ADAPTER_FILE, "README.md", "config.json")


def push(finished: Finished, repository: str, public: bool, console: Console) -> None:
    """Upload the files of `SHARED` in one commit, and delete those that an earlier upload left and this trial lacks.

    Creates the repository if it does not exist, and never changes whether an existing one is public.

    Args:
        repository: `user/model` or `organisation/model`.
        public: whether everybody may read the repository.

    Raises:
        UserError: the trial has no model card, or the hub refuses; one line, which never contains the token.
    """
    files = _files(finished)
    _require_name(repository)
    fault = hub_settings.fault()
    if fault is not None:
        raise UserError(fault)
    if get_token() is None:
        raise UserError("no token of the hub: set HF_TOKEN to one with write access (huggingface.co/settings/tokens)")
    for file in files:
        console.print(f"{file.name}  {decimal(file.stat().st_size)}")
    try:
        address = _upload(files, repository, public, f"Upload {finished.trial.name}")
    except UserError:
        raise
    except Exception as error:  # the client and its dependencies raise errors of any kind
        raise UserError(f"{repository}: {_reason(error, repository)}") from error
    console.print(f"Model: [bold]{escape(address)}[/] ({'public' if public else 'private'})", soft_wrap=True)


def _files(finished: Finished) -> list[Path]:
    folder = finished.folder
    if not (folder.card.is_file() and folder.config.is_file()):
        raise UserError(f"{folder.path}: has no model card; make the report of the run again with --resume")
    return [folder.path / name for name in SHARED if (folder.path / name).is_file()]


def _require_name(repository: str) -> None:
    try:
        validate_repo_id(repository)
        complete = repository.count("/") == 1
    except HFValidationError:
        complete = False
    if not complete:
        raise UserError(f"--repo {repository}: is not the name of a repository; write user/model")


def _upload(files: list[Path], repository: str, public: bool, message: str) -> str:
    """Create the repository if needed, and commit the files; returns its address."""
    api = HfApi()
    api.create_repo(repository, private=not public, exist_ok=True)
    there = api.model_info(repository)
    if bool(there.private) is public:
        visible, fix = ("private", "omit --public") if there.private else ("public", "add --public")
        raise UserError(f"{repository}: exists and is {visible}; {fix}, or choose another --repo")
    names = {file.name for file in files}
    stale = {each.rfilename for each in there.siblings or ()} & set(SHARED) - names
    added = [CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file) for file in files]
    api.create_commit(repository, [*added, *map(CommitOperationDelete, sorted(stale))], commit_message=message)
    return f"{api.endpoint}/{repository}"


def _reason(error: Exception, repository: str) -> str:
    """The reason and the fix, without the error's text, which may contain the token."""
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    owner = repository.partition("/")[0]
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE forbids the upload: unset it"
    if status == 401:
        return "the hub refuses your token (401): set HF_TOKEN to a valid one with write access"
    if status == 403:
        return f"your token may not write there (403): use a token with write access to {owner}"
    if status == 404:
        return f"the hub has no such place for your token (404): check the name {owner} and the token's access"
    if status is not None:
        return f"the hub returned an error ({status}): try again later"
    if isinstance(error, ConnectionError) or type(error).__name__ in (*UNREACHED, "ProxyError"):  # Xet raises the first
        proxy = hub_settings.proxy_variable()
        where = f"the network, {proxy} and HF_ENDPOINT" if proxy else "the network and HF_ENDPOINT"
        return f"the hub cannot be reached ({type(error).__name__}): check {where}"
    if "Invalid metadata" in str(error):
        return "the hub refuses the head of README.md: make the report of the run again with --resume"
    return f"the hub's client failed ({type(error).__name__}): check the variables HF_* and *_PROXY, and try again"

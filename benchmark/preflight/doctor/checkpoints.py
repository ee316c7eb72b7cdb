"""Check the weights: those on this machine, and the hub's answer about the others. Nothing is downloaded."""

from pathlib import Path

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError

import backbones
from backbones import HubFile, hub_settings
from backbones.checkpoint import require_kind
from benchmark.preflight.doctor.case import Case
from benchmark.preflight.doctor.finding import Finding, Status
from benchmark.report.readable import readable_bytes
from benchmark.study.config import BackboneChoice
from benchmark.trial.costs import free_bytes
from benchmark.trial.weight_files import find_weights

ANSWER_SECONDS = 5.0  # how long to wait for the hub


def check_weights(case: Case) -> list[Finding]:
    findings, download = [], 0
    for choice in case.study.backbones:
        finding, size = _weights(choice, ask=not case.quick)
        findings.append(finding)
        download += size
    cache = Path(constants.HF_HUB_CACHE)
    if download > free_bytes(cache):
        detail = f"{readable_bytes(download)} to download, but only {readable_bytes(free_bytes(cache))} free at {cache}"
        findings.append(Finding(Status.FAIL, "weights", detail, "set HF_HOME to a folder with more space"))
    return findings


def _weights(choice: BackboneChoice, ask: bool) -> tuple[Finding, int]:
    """Where a backbone's weights are, and how many bytes have to be downloaded; 0 if the hub is not to be asked."""

    def found(status: Status, detail: str, fix: str = "") -> Finding:
        return Finding(status, "weights", f"{choice.name}: {detail}", fix)

    hub = choice.open().weights
    if choice.weights is None and choice.open().untrained:
        return found(Status.PASS, "untrained, none needed"), 0
    try:
        path = choice.open().locate(choice.weights) if choice.weights is not None or hub is None else hub.cached()
        if path is not None:
            require_kind(path)
            if choice.sha256 is not None:
                find_weights(choice)
            digest = ", SHA-256 as configured" if choice.sha256 else ""
            return found(Status.PASS, f"{path}, {readable_bytes(path.stat().st_size)}{digest}"), 0
    except backbones.WeightsError as error:
        return found(Status.FAIL, str(error)), 0
    assert hub is not None  # otherwise there would be a path

    def unavailable(status: Status, reason: str) -> tuple[Finding, int]:
        reason, _, fix = reason.rpartition(": ")
        by_hand = f"or download {hub.file} elsewhere and name it as `weights:` of the backbone"
        return found(status, f"huggingface.co/{hub.repository}: {reason}", f"{fix}; {by_hand}"), 0

    fault = hub_settings.fault()
    if fault is not None:
        return unavailable(Status.FAIL, fault)
    if not ask:
        gate = "accept its terms there and set HF_TOKEN, " if hub.gated else ""
        fix = f"{gate}or name a local file as `weights:` of the backbone; `doctor` asks whether it may be downloaded"
        detail = f"not here yet; will be downloaded from huggingface.co/{hub}"
        return found(Status.WARN, detail, fix.removeprefix("or ")), 0
    try:
        size = ask_hub(hub)
    except Exception as error:  # the hub's client and its dependencies raise many kinds
        # A refusal is final; a hub that cannot be reached may come back, or the study may run elsewhere.
        refused = isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403, 404)
        return unavailable(Status.FAIL if refused else Status.WARN, hub.reason(error))
    amount = "a file of unknown size" if size is None else readable_bytes(size)
    return found(Status.PASS, f"not here yet; {amount} will be downloaded from huggingface.co/{hub}"), size or 0


def ask_hub(hub: HubFile) -> int | None:
    """The size in bytes of a file that may be downloaded; None if the hub does not report it.

    Raises the errors of `huggingface_hub.get_hf_file_metadata`.
    """
    *others, last = hub.names
    for name in others:
        try:
            return _file_size(hub, name)
        except RemoteEntryNotFoundError:
            continue
    return _file_size(hub, last)


def _file_size(hub: HubFile, name: str) -> int | None:
    url = huggingface_hub.hf_hub_url(hub.repository, name, revision=hub.revision)
    return huggingface_hub.get_hf_file_metadata(url, timeout=ANSWER_SECONDS).size


def check_token(case: Case) -> list[Finding]:
    missing = {
        choice.name: hub
        for choice in case.study.backbones
        for hub in [choice.open().weights]
        if choice.weights is None and hub is not None and hub.cached() is None
    }
    fault = hub_settings.token_fault()
    if fault is not None:
        detail, _, fix = fault.rpartition(": ")
        return [Finding(Status.FAIL if missing else Status.WARN, "hub token", detail, fix)]
    gated = [name for name, hub in missing.items() if hub.gated]
    if huggingface_hub.get_token():
        return [Finding(Status.PASS, "hub token", "set")]
    if not gated:
        return [Finding(Status.PASS, "hub token", "not set, and not needed: no gated weights have to be downloaded")]
    fix = "create a token at huggingface.co/settings/tokens and set HF_TOKEN"
    return [Finding(Status.WARN, "hub token", f"not set, but these weights are gated: {', '.join(gated)}", fix)]

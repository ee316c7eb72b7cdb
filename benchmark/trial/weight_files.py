"""The weights file of each backbone in a run: found once, recorded, and checked by every worker that loads it."""

import json
from typing import Any

from timm.models.vision_transformer import VisionTransformer

import backbones
from backbones.checkpoint import require_kind
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import BackboneChoice

Record = dict[str, Any]


def find_weights(choice: BackboneChoice) -> Record | None:
    """`path`, `sha256`, and for a file from the hub its `repository`, `file` and `revision` (a commit).

    Downloads the file if it is neither on disk nor in the hub's cache. None for an untrained backbone.

    Raises:
        backbones.WeightsError: the file is not available, is of a kind that has no weights, or does not have the
            digest that the configuration gives.
    """
    backbone = choice.open()
    path = backbone.locate(choice.weights)
    if path is None:
        return None
    require_kind(path)
    record: Record = {"path": str(path), "sha256": backbones.sha256(path)}
    if choice.sha256 not in (None, record["sha256"]):
        raise backbones.WeightsError(
            f"{path} has SHA-256 {record['sha256']}, but the configuration requires {choice.sha256}; "
            "download it again, or correct `sha256:` of the backbone"
        )
    if choice.weights is None and backbone.weights is not None:
        hub = backbone.weights
        record |= {"repository": hub.repository, "file": path.name, "revision": hub.commit(path)}
    return record


def read_records(directory: RunDirectory) -> dict[str, Record | None]:
    """The records of the run so far, by backbone; None for an untrained one."""
    return json.loads(directory.weights.read_text(encoding="utf-8")) if directory.weights.is_file() else {}


def build_model(choice: BackboneChoice, directory: RunDirectory) -> VisionTransformer:
    """The backbone with exactly the weights that the run recorded.

    On a cluster, a node with a separate hub cache downloads the recorded commit.

    Raises:
        backbones.WeightsError: the file is not available here, or is not the recorded one.
    """
    backbone, record = choice.open(), read_records(directory)[choice.name]
    if record is None:
        return backbone.build()
    if record.get("revision") is not None:
        return backbone.at(record["revision"]).build(sha256=record["sha256"])
    return backbone.build(choice.weights, sha256=record["sha256"])

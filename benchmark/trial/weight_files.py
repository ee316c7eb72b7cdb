"""Which weights file each backbone of a run has: found once, recorded, and checked by every worker that loads it."""

import json
from typing import Any

from timm.models.vision_transformer import VisionTransformer

import backbones
from backbones.checkpoint import require_kind
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import BackboneChoice

Record = dict[str, Any]


def find_weights(choice: BackboneChoice) -> Record | None:
    """`path`, `sha256`, and for a file from the hub its `repository`, `file` and `revision` (a commit); None for an
    untrained backbone. Downloads what neither the disk nor the hub's cache has.

    Raises:
        backbones.WeightsError: not to be had, of a kind that holds no weights, or of another digest than the
            configuration gives.
    """
    backbone = choice.open()
    path = backbone.locate(choice.weights)
    if path is None:
        return None
    require_kind(path)
    record: Record = {"path": str(path), "sha256": backbones.sha256(path)}
    if choice.sha256 not in (None, record["sha256"]):
        raise backbones.WeightsError(
            f"{path} has SHA-256 {record['sha256']}, the configuration asks for {choice.sha256}; "
            "download it again, or correct `sha256:` of the backbone"
        )
    if choice.weights is None and backbone.weights is not None:
        hub = backbone.weights
        record |= {"repository": hub.repository, "file": path.name, "revision": hub.commit(path)}
    return record


def read_records(directory: RunDirectory) -> dict[str, Record | None]:
    """What the run has noted so far, by backbone; None for an untrained one."""
    return json.loads(directory.weights.read_text(encoding="utf-8")) if directory.weights.is_file() else {}


def build_model(choice: BackboneChoice, directory: RunDirectory) -> VisionTransformer:
    """The backbone with the very weights that the run recorded.

    A node of a cluster that keeps a hub cache of its own fetches the recorded commit.

    Raises:
        backbones.WeightsError: not to be had here, or not the file that was recorded.
    """
    backbone, record = choice.open(), read_records(directory)[choice.name]
    if record is None:
        return backbone.build()
    if record.get("revision") is not None:
        return backbone.at(record["revision"]).build(sha256=record["sha256"])
    return backbone.build(choice.weights, sha256=record["sha256"])

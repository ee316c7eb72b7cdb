"""The study's configuration: one YAML file, checked before anything runs.

Paths in a file are relative to the file's folder. What needs torch is imported where a configuration is checked: every
worker unpickles a study, and many of them need no torch.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import numpy as np
import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from benchmark.errors import UserError
from benchmark.study.controls import CONTROLS
from benchmark.synthetic import SyntheticCohort
from finetune.recipe import Recipe

if TYPE_CHECKING:
    from backbones import Backbone
    from finetune.strategies import Strategy
    from xai.methods import Method

IntervalMethod = Literal["t", "percentile", "bca"]
RiskMethod = Literal["unbalanced", "recalibrated", "score"]
_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Section(BaseModel):
    model_config = _STRICT


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class _Synthetic(SyntheticCohort):
    pass


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class _Recipe(Recipe):
    pass


class Shares(_Section):
    """How people are divided where the manifest does not say."""

    train: float = Field(0.5, gt=0, lt=1)
    val: float = Field(0.2, gt=0, lt=1)
    test: float = Field(0.3, gt=0, lt=1)
    seed: int = 0

    @model_validator(mode="after")
    def _whole(self) -> "Shares":
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"train, val and test add up to {self.train + self.val + self.test:g}, not 1")
        return self


class Cohort(_Section):
    """Where the photographs and labels are: a manifest (CSV, Parquet, or a folder of classes) or a synthetic cohort.

    `positive` is the class that is label 1: the name of a class folder, or a text of the manifest's column label.
    """

    manifest: Path | None = None
    image_dir: Path | None = None
    patient_pattern: str | None = None
    positive: str | None = None
    synthetic: _Synthetic | None = None
    shares: Shares = Shares()
    max_rejected: float = Field(0.05, ge=0, le=1)

    @field_validator("patient_pattern")
    @classmethod
    def _has_group(cls, pattern: str | None) -> str | None:
        try:
            groups = re.compile(pattern or "()").groups
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{pattern!r} is no regular expression ({error})") from error
        if not groups:
            raise ValueError(f"{pattern!r} has no group: put parentheses around the patient id")
        return pattern

    @field_validator("positive", mode="before")
    @classmethod
    def _text(cls, name: Any) -> Any:
        if isinstance(name, bool):  # YAML's word for yes, no, true, false, on, off
            raise ValueError('is a yes/no value in YAML: put the name of the class in quotes, as in positive: "yes"')
        return str(name) if isinstance(name, int | float) else name

    @model_validator(mode="after")
    def _one_source(self) -> "Cohort":
        if (self.manifest is None) == (self.synthetic is None):
            raise ValueError("give either a manifest or a synthetic cohort")
        if self.synthetic is not None and (self.image_dir or self.patient_pattern):
            raise ValueError("image_dir and patient_pattern belong to a manifest: give one, or leave them out")
        if self.synthetic is not None and self.positive is not None:
            raise ValueError("positive belongs to a manifest: give one (--data), or leave positive out")
        return self


class Vessels(_Section):
    """Where artery and vein masks come from; `size` is the network's input side in pixels."""

    source: str = "masks"
    weights: Path | None = None
    size: int | None = Field(None, gt=0)


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class BackboneChoice(_Section):
    """A backbone and where its weights come from: a local file or folder, else the hub at `revision`.

    `sha256`, where given, is what the weights file must have.
    """

    name: str
    weights: Path | None = None
    revision: str | None = None
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _known(self) -> "BackboneChoice":
        self.open()
        return self

    def open(self) -> "Backbone":
        """The backbone itself."""
        import backbones

        backbone = backbones.get(self.name)
        return backbone.at(self.revision) if self.revision else backbone


class StrategyChoice(BaseModel):
    """A strategy and its options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @model_validator(mode="before")
    @classmethod
    def _typed(cls, values: Any) -> Any:
        """Options in the types of the strategy's fields: YAML reads 1e-3 as text, for one."""
        if not isinstance(values, dict):
            return values
        from finetune.strategies import STRATEGIES

        types = get_type_hints(STRATEGIES.get(str(values.get("name")), object))
        typed = {}
        for option in [key for key in values if key in types and key != "name"]:
            try:
                typed[option] = TypeAdapter(types[option]).validate_python(values[option])
            except ValidationError as error:
                raise ValueError(f"{option}: {error.errors()[0]['msg']}") from error
        return values | typed

    @model_validator(mode="after")
    def _known(self) -> "StrategyChoice":
        self.open()
        return self

    def open(self) -> "Strategy":
        """The strategy itself."""
        from finetune.strategies import open_strategy

        return open_strategy(self.name, **(self.model_extra or {}))


class Embeddings(_Section):
    """The cache of what frozen blocks make of every image and view.

    `max_gib` bounds it on disk, and nine tenths of the free space do in any case; a cell whose tokens do not fit
    trains from images. float16 is the finer of the two types, bfloat16 takes values beyond 65,504.
    """

    dtype: Literal["float16", "bfloat16"] = "float16"
    max_gib: float = Field(100, ge=0)


class Search(_Section):
    """A search for every cell's learning rate by Ray Tune, with the same budget for every cell.

    `candidates` rates, evenly spaced on a logarithmic scale, from the strategy's own divided by `span` to the same
    times `span`; ASHA (Li et al. 2020) on validation AUC ends a candidate from `grace` epochs on, at each rung keeping
    the best 1 / `reduction`.
    """

    candidates: int = Field(5, ge=2)
    span: float = Field(10, gt=1)
    grace: int = Field(2, ge=1)
    reduction: int = Field(3, ge=2)


class Explain(_Section):
    """A method of `xai.methods`, with the block whose `norm1` is the target layer, for the positive class (1); see
    `xai.gradcam` for what scaling means.

    `coverage` says how much of a pixel counts as vessel: the share of it that is, or `binary`, all or none. `examples`
    is how many of the best, of the median and of the worst images have their panel drawn.
    """

    method: str = "gradcam"
    block: int = -1
    target_class: Literal[0, 1] = 1
    scaling: Literal["minmax", "raw"] = "minmax"
    coverage: Literal["share", "binary"] = "share"
    examples: int = Field(3, ge=0)

    @model_validator(mode="after")
    def _known(self) -> "Explain":
        self.open()
        return self

    def open(self) -> "Method":
        """The method itself."""
        from xai.methods import open_method

        return open_method(self.method, self.block)

    def masks(self, planes: np.ndarray) -> np.ndarray:
        """Coverage planes as they count."""
        from xai.vessels import binary

        return binary(planes) if self.coverage == "binary" else planes


SWITCHES = tuple(CONTROLS)


class Controls(_Section):
    """What a ratio is compared with; docs/controls.md says what each control asks. Each can be switched off.

    `draws` of permuted patients for `mask_null` and `other_class`, and of turned trees for the former; `seeds` of
    random weights for `model_null`, whose maps are compared on `images` test images, spread evenly.
    """

    mask_null: bool = True
    other_class: bool = True
    model_null: bool = True
    erasure: bool = True
    draws: int = Field(1000, ge=1)
    seeds: int = Field(3, ge=1)
    images: int = Field(32, ge=1)


class Statistics(_Section):
    """Inference over people; `interval`: Student's t, or a bootstrap's, percentile or BCa (docs/statistics.md).

    `risk` says how a score becomes the probability that calibration, Brier score and net benefit are of: `unbalanced`
    undoes what balanced classes in training added, `recalibrated` fits a line to the logits on validation, and `score`
    takes the score as it is. `equivalence_margin`: two AUCs that differ by less count as equivalent.
    """

    resamples: int = Field(2000, ge=100)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    seed: int = 0
    interval: IntervalMethod = "t"
    risk: RiskMethod = "unbalanced"
    equivalence_margin: float = Field(0.03, gt=0, lt=0.5)


class Resources(_Section):
    """What one trial and one streaming actor take; `gpus: null` means one where the cluster has any."""

    cpus: int = Field(1, ge=1)
    gpus: float | None = Field(None, ge=0)
    batch_size: int = Field(32, ge=1)


class Study(_Section):
    """Everything that decides the numbers of a run, and the resources it may take."""

    name: str
    cohort: Cohort
    vessels: Vessels = Vessels()
    backbones: Annotated[list[Annotated[BackboneChoice, BeforeValidator(_named)]], Field(min_length=1)]
    strategies: Annotated[list[Annotated[StrategyChoice, BeforeValidator(_named)]], Field(min_length=1)]
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    training: _Recipe = _Recipe()
    embeddings: Embeddings = Embeddings()
    search: Search | None = None
    explain: Explain = Explain()
    controls: Controls = Controls()
    statistics: Statistics = Statistics()
    published: bool = False  # the published study's nine cells beside the run's own, on the page
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _no_twins(self) -> "Study":
        for what in ("backbones", "strategies"):
            named = [choice.name for choice in getattr(self, what)]
            twins = sorted({name for name in named if named.count(name) > 1})
            if twins:
                raise ValueError(f"{what}: {', '.join(twins)} is listed twice")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: the same seed is listed twice")
        return self

    @model_validator(mode="after")
    def _fitting(self) -> "Study":
        from xai.rollout import require_plain

        method = self.explain.open()
        for choice in self.backbones:
            backbone = choice.open()
            try:
                method.start(backbone.depth)
                if method.name == "rollout":
                    require_plain(backbone.skeleton(classes=2))
            except ValueError as error:
                raise ValueError(f"explain: on {choice.name}, {error}") from error
            for place, strategy in enumerate(self.strategies):
                try:
                    strategy.open().frozen_blocks(backbone.depth)
                except ValueError as error:
                    raise ValueError(f"strategies: on {choice.name}, {error}") from error
                try:
                    strategy.open().require_fit(backbone)
                except ValueError as error:
                    raise ValueError(f"strategies.{place}: {error}") from error
        return self

    @model_validator(mode="after")
    def _searchable(self) -> "Study":
        for place, strategy in enumerate(self.strategies if self.search else ()):
            if strategy.open().learning_rate == 0:
                raise ValueError(f"strategies.{place}: a search needs a learning_rate above 0 to begin from")
        return self

    def dump(self) -> dict[str, Any]:
        """Plain values, as they are written into the run directory."""
        return self.model_dump(mode="json")


def load_study(path: Path, overrides: Mapping[str, Any] | None = None) -> Study:
    """Read and check a configuration.

    Args:
        overrides: sections or single keys (nested mappings) that replace those of the file.

    Raises:
        UserError: one line per fault, each naming the file and the key.
    """
    try:
        with path.open(encoding="utf-8") as file:
            values = yaml.load(file, _Loader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected keys and values (name: …, cohort: …), found {type(values).__name__}")
    _resolve_paths(values, path.resolve().parent)
    try:
        return Study.model_validate(_merged(values, overrides or {}))
    except ValidationError as error:
        raise UserError("\n".join(f"{path}: {_line(fault)}" for fault in error.errors())) from error


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, where PyYAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for place, (key, _) in enumerate(node.value):
            if key.value in keys[:place]:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} stands twice", key.start_mark)
        return super().construct_mapping(node, deep)


def _line(fault: ErrorDetails) -> str:
    where = ".".join(map(str, fault["loc"])) + ": " if fault["loc"] else ""
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{where}unknown key; known: {', '.join(_known_keys(fault['loc'][:-1]))}"
    if fault["type"] == "missing":
        return f"{where}is missing"
    return where + fault["msg"].removeprefix("Value error, ")


def _known_keys(section: tuple[int | str, ...]) -> list[str]:
    """The keys of the section at this place of a study."""
    whole = schema = Study.model_json_schema()
    for part in section:
        schema = schema["items"] if isinstance(part, int) else schema["properties"][part]
        for option in (schema, *schema.get("anyOf", ())):
            if "$ref" in option:
                schema = whole["$defs"][option["$ref"].rpartition("/")[2]]
    return list(schema["properties"])


def _merged(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(values)
    for key, value in overrides.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return result


def _resolve_paths(values: dict[str, Any], folder: Path) -> None:
    chosen = values.get("backbones")
    for section in (values.get("cohort"), values.get("vessels"), *(chosen if isinstance(chosen, list) else ())):
        if isinstance(section, dict):
            for key in ("manifest", "image_dir", "weights"):
                if isinstance(section.get(key), str):
                    section[key] = str(folder / Path(section[key]).expanduser())

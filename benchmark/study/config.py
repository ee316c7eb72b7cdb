"""The study's configuration: one YAML file, checked before anything runs.

Every key is a field, and the type of a field decides how it is read: a relative `Path` starts from the file's folder.
The "Attributes:" of the docstrings describe the fields, also in configs/schema.json. Modules that need torch are
imported only where a configuration is checked: every worker unpickles a study, and many workers do not need torch.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints
from urllib.parse import urlsplit

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
from pydantic.json_schema import GetJsonSchemaHandler, JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails

from benchmark.errors import UserError
from benchmark.shipped import shipped
from benchmark.study.controls import CONTROLS
from benchmark.study.covariates import Kind
from benchmark.study.keys import Keys
from benchmark.study.schema import options_schema, schema_of
from benchmark.study.strict_yaml import read_yaml
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
    __doc__ = SyntheticCohort.__doc__


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class _Recipe(Recipe):
    __doc__ = Recipe.__doc__


# The permitted names, only for the JSON Schema, so that an editor can offer them; validation gives better messages.
def _backbone_names(schema: JsonSchemaValue) -> None:
    from backbones import from_open_clip, from_timm, names

    prefixes = "|".join(re.escape(source.PREFIX) for source in (from_timm, from_open_clip))
    schema["anyOf"] = [{"enum": names()}, {"pattern": f"^({prefixes})"}]


def _strategy_names(schema: JsonSchemaValue) -> None:
    from finetune.strategies import STRATEGIES

    schema["enum"] = list(STRATEGIES)


def _source_names(schema: JsonSchemaValue) -> None:
    from xai.vessels import source_names

    schema["enum"] = source_names()


def _method_names(schema: JsonSchemaValue) -> None:
    from xai.methods import METHODS

    schema["enum"] = list(METHODS)


_BackboneName = Annotated[str, Field(json_schema_extra=_backbone_names)]
_StrategyName = Annotated[str, Field(json_schema_extra=_strategy_names)]
_SourceName = Annotated[str, Field(json_schema_extra=_source_names)]
_MethodName = Annotated[str, Field(json_schema_extra=_method_names)]


class Shares(_Section):
    """How patients are divided if the manifest gives no splits; the three shares add up to 1.

    Attributes:
        train: share of the patients to train on.
        val: share of the patients for early stopping and thresholds.
        test: share of the patients for all reported results.
        seed: the same seed divides the same patients in the same way.
    """

    train: float = Field(0.5, gt=0, lt=1)
    val: float = Field(0.2, gt=0, lt=1)
    test: float = Field(0.3, gt=0, lt=1)
    seed: int = 0

    @model_validator(mode="after")
    def _whole(self) -> "Shares":
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"train, val and test add up to {self.train + self.val + self.test:g}, not 1")
        return self


class Folds(_Section):
    """Cross-validation: the study is repeated so that every patient is tested once in each repeat.

    Attributes:
        folds: number of folds; each is tested with models that were trained on the others.
        repeats: how often the patients are divided anew.
        seed: the same seed divides the same patients in the same way.
    """

    folds: int = Field(5, ge=2, le=100)
    repeats: int = Field(1, ge=1, le=100)
    seed: int = Field(0, ge=0)

    @property
    def count(self) -> int:
        """How often every trial is trained."""
        return self.folds * self.repeats


class Columns(_Section):
    """The names that the columns have in the manifest, where they differ from those that a study reads.

    Attributes:
        image: the column of image files.
        label: the column of labels.
        patient_id: the column of patients.
        eye: the column that tells left from right eyes.
        visit: the column that tells the visits of a patient apart, such as a date.
        split: the column with train, val or test.
        artery_mask: the column of artery masks.
        vein_mask: the column of vein masks.
        disc_mask: the column of optic discs.
        fov_mask: the column of fields of view.
    """

    image: str | None = None
    label: str | None = None
    patient_id: str | None = None
    eye: str | None = None
    visit: str | None = None
    split: str | None = None
    artery_mask: str | None = None
    vein_mask: str | None = None
    disc_mask: str | None = None
    fov_mask: str | None = None

    def named(self) -> dict[str, str]:
        """Column of a manifest -> its name in the table."""
        return {column: name.strip() for column, name in self if name is not None}


_Class = str | int | float  # as YAML reads the name of a class


def _class_names(value: Any) -> Any:
    if isinstance(value, str):
        value = [name for part in value.split(",") if (name := part.strip())]
    names = value if isinstance(value, list) else [value]
    if any(isinstance(name, bool) for name in names):  # YAML reads yes, no, true, false, on and off as this
        raise ValueError('is a yes/no value in YAML: put the name of the class in quotes, as in positive: "yes"')
    if not names:
        raise ValueError("names no class: name those that are label 1, as in positive: [2, 3]")
    return None if value is None else [str(name) if isinstance(name, int | float) else name for name in names]


def _kinds(value: Any) -> Any:
    if isinstance(value, list):
        twins = sorted({str(name) for name in value if value.count(name) > 1})
        if twins:
            raise ValueError(f"{', '.join(twins)} is listed twice")
        value = dict.fromkeys(map(str, value), "auto")
    for name in value if isinstance(value, dict) else ():
        if name in ("image", "label", "patient_id"):
            raise ValueError(f"{name} is not a covariate: remove it")
    return value


_Positive = Annotated[
    list[str] | None, BeforeValidator(_class_names, json_schema_input_type=_Class | list[_Class] | None)
]
_Covariates = Annotated[dict[str, Kind], BeforeValidator(_kinds, json_schema_input_type=list[str] | dict[str, Kind])]
_LabelsPer = Literal["patient", "eye"]


class Cohort(_Section):
    """Where the images and labels are: a manifest or a synthetic cohort.

    Attributes:
        manifest: a CSV or Parquet file with one row per image, or a folder train|val|test/<class>/ or <class>/.
        columns: the names of columns in the manifest, where they differ from image, label, patient_id and so on.
        image_dir: the folder that relative paths in the manifest start from; by default the manifest's folder.
        patient_pattern: a regular expression whose first group is the patient id in the name of an image file, for a
            folder, or a table without patient_id.
        positive: the classes that are label 1, as a list or as a text with commas (`2,3,4`); all others are label 0.
            Each is the name of a class folder, or a value in the manifest's column label.
        labels: whether the label is that of the patient, so that all images of a patient must have the same, or that of
            the eye. With `eye`, a patient counts as positive if any eye is.
        covariates: further columns of the manifest, such as age, sex, camera: a list of names, or for each name
            `number`, `category`, or `auto` (a number if all values are numbers and at least six differ).
        synthetic: a synthetic cohort to draw instead of reading a manifest.
        shares: how patients are divided if the manifest gives no splits.
        max_rejected: share of unusable images, from 0 to 1, above which the run stops.
    """

    manifest: Path | None = None
    columns: Columns = Columns()
    image_dir: Path | None = None
    patient_pattern: str | None = None
    positive: _Positive = None
    labels: _LabelsPer = "patient"
    covariates: _Covariates = {}
    synthetic: _Synthetic | None = None
    shares: Shares = Shares()
    max_rejected: float = Field(0.05, ge=0, le=1)

    @field_validator("patient_pattern")
    @classmethod
    def _has_group(cls, pattern: str | None) -> str | None:
        try:
            groups = re.compile(pattern or "()").groups
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{pattern!r} is not a regular expression ({error})") from error
        if not groups:
            raise ValueError(f"{pattern!r} has no group: put parentheses around the patient id")
        return pattern

    @model_validator(mode="after")
    def _one_source(self) -> "Cohort":
        if (self.manifest is None) == (self.synthetic is None):
            raise ValueError("give either a manifest or a synthetic cohort")
        if self.synthetic is not None and (self.image_dir or self.patient_pattern or self.columns.named()):
            raise ValueError("image_dir, patient_pattern and columns belong to a manifest: give one, or leave them out")
        if self.synthetic is not None and self.positive is not None:
            raise ValueError("positive belongs to a manifest: give one (--data), or leave positive out")
        if self.synthetic is not None and self.synthetic.covariates == "none":
            undrawn = sorted({"age", "sex", "camera"} & self.covariates.keys())
            if undrawn:
                raise ValueError(
                    f"covariates: the synthetic cohort has no {undrawn[0]}; set synthetic.covariates, as in independent"
                )
        return self


class Vessels(_Section):
    """Where artery and vein masks come from.

    Attributes:
        source: masks (files named in the manifest), wnet, bfnet (AutoMorph's network) or automorph_results.
        weights: the network's weights (a file, or AutoMorph's folder of weights), or the Results folder of a finished
            AutoMorph run.
        size: side in pixels of the network's input; by default the side it was trained with.
    """

    source: _SourceName = "masks"
    weights: Path | None = None
    size: int | None = Field(None, gt=0)


class External(_Section):
    """A cohort of other patients, to which the trained models are applied as they are.

    Attributes:
        name: name of the cohort; its results are in external/<name>/ of the run directory.
        manifest: as that of the study's cohort; all its images are tested, whatever a column split says.
        image_dir: the folder that relative paths in the manifest start from; by default the manifest's folder.
        columns: as in the study's cohort, like the next four keys; by default the study's own value.
        patient_pattern: see the study's cohort.
        positive: see the study's cohort.
        labels: see the study's cohort.
        covariates: see the study's cohort.
        synthetic: a synthetic cohort to draw instead of reading a manifest.
        max_rejected: share of unusable images, from 0 to 1, above which the validation stops.
        vessels: where artery and vein masks come from; by default as in the study.
        recalibrate: share of the patients on which recalibrations are fitted in addition to those that are fitted on
            the study's validation images; these patients are left out where recalibrations are compared. By default
            nothing is fitted on the cohort.
    """

    name: str
    manifest: Path | None = None
    image_dir: Path | None = None
    columns: Columns | None = None
    patient_pattern: str | None = None
    positive: _Positive = None
    labels: _LabelsPer | None = None
    covariates: _Covariates | None = None
    synthetic: _Synthetic | None = None
    max_rejected: float = Field(0.05, ge=0, le=1)
    vessels: Vessels | None = None
    recalibrate: float | None = Field(None, gt=0, lt=1)

    @field_validator("name")
    @classmethod
    def _of_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._ -]*", name):
            raise ValueError(f"{name!r} is not a name: begin with a letter or digit; spaces, . _ - may follow")
        return name

    def cohort(self, of_study: Cohort) -> Cohort:
        """The cohort, read like that of the study unless it says otherwise.

        Raises:
            ValueError: it is not a cohort; one line.
        """
        own = {
            key: value
            for key in ("manifest", "image_dir", "synthetic", "max_rejected", *_LIKE_THE_STUDY)
            if (value := getattr(self, key)) is not None
        }
        as_study = {key: getattr(of_study, key) for key in _LIKE_THE_STUDY} if self.manifest is not None else {}
        return Cohort.model_validate(as_study | own)

    def study(self, of: "Study") -> "Study":
        """The study that applies the models of another to this cohort."""
        changed = {
            "name": f"{of.name}, {self.name}",
            "cohort": self.cohort(of.cohort),
            "vessels": self.vessels or of.vessels,
            "external": [],
            "search": None,
            "published": False,
        }
        return of.model_copy(update=changed)


_LIKE_THE_STUDY = ("columns", "patient_pattern", "positive", "labels", "covariates")


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class BackboneChoice(_Section):
    """A backbone and the source of its weights: a local file or folder, or otherwise the hub.

    Attributes:
        name: a registered backbone, timm:<model> or open_clip:<model>/<tag>.
        weights: a local file or folder; by default the published weights from the hub.
        revision: the hub's commit, branch or tag.
        sha256: the SHA-256 hash that the weights file must have.
    """

    name: _BackboneName
    weights: Path | None = None
    revision: str | None = None
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _known(self) -> "BackboneChoice":
        self.open()
        return self

    def open(self) -> "Backbone":
        """The registered backbone, at the chosen revision."""
        import backbones

        backbone = backbones.get(self.name)
        return backbone.at(self.revision) if self.revision else backbone


class StrategyChoice(BaseModel):
    """A strategy and its options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """One alternative per strategy, with its own options."""
        from finetune.strategies import STRATEGIES

        return {"anyOf": [options_schema(name, kind) for name, kind in STRATEGIES.items()]}

    @model_validator(mode="before")
    @classmethod
    def _typed(cls, values: Any) -> Any:
        """Convert options to the types of the strategy's fields; YAML reads 1e-3 as text, for example."""
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
        """The strategy with these options."""
        from finetune.strategies import open_strategy

        return open_strategy(self.name, **(self.model_extra or {}))


class Embeddings(_Section):
    """The cache of the frozen blocks' outputs for every image and view.

    Attributes:
        dtype: float16 is more precise; bfloat16 also represents values above 65,504.
        max_gib: largest size on disk in GiB; the cache never takes more than nine tenths of the free space. A cell
            whose tokens do not fit trains from images.
    """

    dtype: Literal["float16", "bfloat16"] = "float16"
    max_gib: float = Field(100, ge=0)


class Search(_Section):
    """A search for the learning rate of every cell with Ray Tune, with the same budget for every cell.

    ASHA (Li et al. 2020) stops candidates early by their validation AUC.

    Attributes:
        candidates: number of learning rates, evenly spaced on a logarithmic scale.
        span: the rates range from the strategy's own rate divided by this factor to the rate times this factor.
        grace: epochs before a candidate may be stopped.
        reduction: at each rung, the best 1 / reduction of the candidates continue.
    """

    candidates: int = Field(5, ge=2)
    span: float = Field(10, gt=1)
    grace: int = Field(2, ge=1)
    reduction: int = Field(3, ge=2)


class Explain(_Section):
    """How a model's predictions are explained: which parts of an image they depend on.

    Attributes:
        method: a method of `xai.methods`.
        block: the block whose `norm1` is the target layer; negative numbers count from the end.
        target_class: the class that is explained; 1 is the positive class.
        scaling: minmax scales every map to the range 0 to 1, as the published study did; raw keeps its values.
        coverage: how a pixel counts as vessel: by the share of it that is vessel (`share`), or all or none (`binary`).
        examples: number of panels drawn for each of the best, the median and the worst images.
    """

    method: _MethodName = "gradcam"
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
        """The method with the chosen block."""
        from xai.methods import open_method

        return open_method(self.method, self.block)

    def masks(self, planes: np.ndarray) -> np.ndarray:
        """The coverage planes as `coverage` counts them."""
        from xai.vessels import binary

        return binary(planes) if self.coverage == "binary" else planes


SWITCHES = tuple(CONTROLS)


class Controls(_Section):
    """The controls of the vessel ratios, explained in docs/controls.md. Each can be switched off.

    Attributes:
        vessel_permutation: the vessel permutation test and the turned-tree test.
        other_class: the ratios of maps for the other class.
        parameter_randomisation: the parameter randomisation test.
        erasure: vessel erasure.
        draws: permutations of patients for vessel_permutation and other_class, and turned trees for vessel_permutation.
        seeds: number of sets of random weights for parameter_randomisation.
        images: number of test images, spread evenly, whose maps parameter_randomisation compares.
    """

    vessel_permutation: bool = True
    other_class: bool = True
    parameter_randomisation: bool = True
    erasure: bool = True
    draws: int = Field(1000, ge=1)
    seeds: int = Field(3, ge=1)
    images: int = Field(32, ge=1)


class Statistics(_Section):
    """Statistical inference over patients.

    Attributes:
        resamples: number of bootstrap samples of patients.
        confidence: confidence level of every interval, above 0.5 and below 1.
        seed: seed of the resamples.
        interval: Student's t, or the percentile or BCa interval of the bootstrap (docs/statistics.md).
        risk: how a score becomes the probability for calibration, Brier score and net benefit. `unbalanced` undoes the
            effect of balancing the classes in training, `recalibrated` fits a line to the logits on the validation set,
            and `score` uses the score unchanged.
        equivalence_margin: two AUCs count as equivalent if they differ by less than this.
    """

    resamples: int = Field(2000, ge=100)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    seed: int = 0
    interval: IntervalMethod = "t"
    risk: RiskMethod = "unbalanced"
    equivalence_margin: float = Field(0.03, gt=0, lt=0.5)


class Patients(_Section):
    """How the scores of a patient's images are combined into one (docs/patients.md).

    Attributes:
        attention: whether each trial also trains a small network that weights the images of a patient by their
            features; the mean and the maximum of the scores are always reported.
    """

    attention: bool = False


class Resources(_Section):
    """The resources of each trial and of each streaming actor.

    Attributes:
        cpus: CPU cores of each.
        gpus: GPUs of each; null means one if the cluster has GPUs.
        batch_size: images per batch when a backbone or a vessel network is applied.
    """

    cpus: int = Field(1, ge=1)
    gpus: float | None = Field(None, ge=0)
    batch_size: int = Field(32, ge=1)


class Tracking(_Section):
    """Where the curves of training are sent as well; TensorBoard's event files are always written.

    Attributes:
        mlflow: address of an MLflow tracking server, as in http://127.0.0.1:5000; needs the package mlflow-skinny.
    """

    mlflow: str | None = None

    @field_validator("mlflow")
    @classmethod
    def _address(cls, address: str | None) -> str | None:
        if address is None:
            return None
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{address!r} is not the address of a server: write http://HOST:PORT")
        if parts.username is not None:  # study.yaml and the page show the address
            raise ValueError(
                "give the name and the password in the variables MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        return address


class Study(_Section):
    """All settings that determine the results of a run, and the resources it may use.

    Attributes:
        name: name of the study; the run directory is by default runs/<name>.
        cohort: where the images and labels are.
        splits: patient-wise folds, for a small cohort; by default the patients are divided once, by cohort.shares or by
            the manifest.
        vessels: where artery and vein masks come from.
        backbones: names, or names with options; every backbone is trained with every strategy.
        strategies: names, or names with options.
        seeds: every cell is trained once per seed.
        training: how models are trained.
        embeddings: the cache of the frozen blocks' outputs for every image and view.
        search: a search for the learning rate of every cell; by default there is none.
        explain: how a model's predictions are explained.
        controls: the controls of the vessel ratios.
        statistics: statistical inference over patients.
        external: cohorts of other patients, to which the trained models are applied as they are.
        patients: how the scores of a patient's images are combined into one.
        published: whether the page shows the published study's nine cells next to the run's own.
        resources: the resources of each trial and of each streaming actor.
        tracking: where the curves of training are sent as well.
    """

    name: str
    cohort: Cohort
    splits: Folds | None = None
    vessels: Vessels = Vessels()
    backbones: Annotated[
        list[Annotated[BackboneChoice, BeforeValidator(_named, json_schema_input_type=_BackboneName | BackboneChoice)]],
        Field(min_length=1),
    ]
    strategies: Annotated[
        list[Annotated[StrategyChoice, BeforeValidator(_named, json_schema_input_type=_StrategyName | StrategyChoice)]],
        Field(min_length=1),
    ]
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    training: _Recipe = _Recipe()
    embeddings: Embeddings = Embeddings()
    search: Search | None = None
    explain: Explain = Explain.model_construct()  # the check would load torch, whoever imports this
    controls: Controls = Controls()
    statistics: Statistics = Statistics()
    external: list[External] = []
    patients: Patients = Patients()
    published: bool = False
    resources: Resources = Resources()
    tracking: Tracking = Tracking()

    @field_validator("name")
    @classmethod
    def _of_a_folder(cls, name: str) -> str:
        odd = next((letter for letter in name if letter in "/\\\0"), None)
        if odd or name.strip() in ("", ".", ".."):
            what = f"contains {odd!r}" if odd else "is not the name of a folder"
            raise ValueError(f"{name!r} {what}; give a name for runs/<name>, or a path with --out")
        return name

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
    def _other_cohorts(self) -> "Study":
        if self.external and self.splits:
            raise ValueError(
                "external: with splits, models differ from fold to fold; remove one of the two, or apply the models "
                "of one fold to the external cohort, as in validate runs/NAME/folds/r1-f1"
            )
        names = [each.name for each in self.external]
        twins = sorted({name for name in names if names.count(name) > 1})
        if twins:
            raise ValueError(f"external: {', '.join(twins)} is listed twice")
        for each in self.external:
            try:
                each.cohort(self.cohort)
            except ValueError as error:
                reasons = error.errors() if isinstance(error, ValidationError) else [{"msg": str(error)}]
                reason = str(reasons[0]["msg"]).removeprefix("Value error, ")
                raise ValueError(f"external: {each.name}: {reason}") from error
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
                raise ValueError(f"strategies.{place}: a search needs a learning_rate above 0 to start from")
        return self

    @property
    def trainings(self) -> int:
        """How often every trial is trained: once, or once for each fold of each repeat."""
        return 1 if self.splits is None else self.splits.count

    def dump(self) -> dict[str, Any]:
        """The study as plain values, as written into the run directory."""
        return self.model_dump(mode="json")


def study_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration, as configs/schema.json holds it."""
    return schema_of(Study)


@cache
def _keys() -> Keys:
    """The keys of a configuration, from the file: making the schema imports torch for the names of the backbones."""
    return Keys(json.loads(shipped("configs/schema.json").read_text(encoding="utf-8")))


def load_study(
    path: Path,
    overrides: Mapping[str, Any] | None = None,
    settings: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> Study:
    """Read and check a configuration.

    Args:
        overrides: sections or single keys (nested mappings) that replace those of the file.
        settings: the values of `--set`: dotted keys with list positions (`backbones.0.weights`), and values as YAML.
            They are applied last; relative paths among them start from the current directory.
        options: for each dotted key of `overrides`, the command-line option that set it, to name in a fault.

    Raises:
        UserError: one line per fault, each naming the file, the option or `--set`, and the key.
    """
    values, keys = _merged(read_values(path), overrides or {}), _keys()
    for key, text in (settings or {}).items():
        values = keys.replaced(values, key, _setting(key, text), Path.cwd())
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        faults = ((".".join(map(str, fault["loc"])), _reason(fault, values, keys)) for fault in error.errors())
        typed = {key: f"--set {key}" for key in settings or {}}
        typed |= {key: option for key, option in (options or {}).items() if key not in typed}
        raise UserError("\n".join(_line(path, where, reason, typed) for where, reason in faults)) from error


def read_values(path: Path) -> dict[str, Any]:
    """Read the values of a configuration file without checking them; paths become absolute.

    Raises:
        UserError: the file cannot be read, is not valid YAML, or contains no keys.
    """
    try:
        with path.open(encoding="utf-8") as file:
            values = read_yaml(file)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected keys and values (name: …, cohort: …), found {type(values).__name__}")
    return _keys().absolute(values, path.resolve().parent)


def _setting(key: str, text: str) -> Any:
    try:
        return read_yaml(text)
    except yaml.YAMLError as error:
        raise UserError(f"--set {key}: not valid YAML: {' '.join(str(error).split())}") from error


def _line(path: Path, where: str, reason: str, typed: Mapping[str, str]) -> str:
    """One fault with its source: what the user typed, or the file with what was typed that may be involved.

    Args:
        where: the dotted key of the fault.
        typed: dotted key -> the option that set it.
    """
    text = f"{where}: {reason}" if where else reason
    for key, option in typed.items():
        if where == key:
            return f"{option}: {reason}"
        if where.startswith(f"{key}."):
            return f"{option}: {text if option.startswith('--set') else reason}"
    inside = [option for key, option in typed.items() if not where or key.startswith(f"{where}.")]
    return f"{path}{' with ' if inside else ''}{', '.join(inside)}: {text}"


def _reason(fault: ErrorDetails, values: Mapping[str, Any], keys: Keys) -> str:
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown key; known: {', '.join(keys.known(fault['loc'][:-1], values))}"
    if fault["type"] == "missing":
        return "is missing"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{message}, got {fault['input']!r}" if fault["type"].endswith("_parsing") else message


def _merged(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(values)
    for key, value in overrides.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return result

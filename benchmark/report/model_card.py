"""The model card of a trial, in the form of the Hugging Face hub, and the configuration that goes with its weights.

Both are for readers elsewhere: they contain no path of this machine and no name of an image or a patient.
"""

from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmark.report.page import TEMPLATES
from benchmark.report.results import Number, Results, TrialResult
from benchmark.study.config import Study
from benchmark.study.folder import SPLITS
from benchmark.study.images import IMAGE_SIZE
from benchmark.study.trials import Trial

# Measure -> its name on the card, and the hub's name of the metric if it has one.
METRICS: dict[str, tuple[str, str | None]] = {
    "auc": ("AUC", "roc_auc"),
    "average_precision": ("Average precision", "average_precision"),
    "f1": ("F1", "f1"),
    "sensitivity": ("Sensitivity", "recall"),
    "specificity": ("Specificity", "specificity"),
    "ppv": ("Positive predictive value", "precision"),
    "npv": ("Negative predictive value", None),
    "balanced_accuracy": ("Balanced accuracy", None),
    "brier": ("Brier score", "brier_score"),
    "calibration_slope": ("Calibration slope", None),
    "vessel_ratio_fov": ("Grad-CAM inside vessels / elsewhere in the field of view", None),
}
# The hub's identifiers of licences that weights of vision transformers have.
HUB_LICENCES = (
    "apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0",
    "cc-by-nc-nd-4.0", "openrail",
)  # fmt: skip


def model_card(study: Study, trial: Trial, result: TrialResult, results: Results) -> str:
    """README.md of a trial: metadata as YAML, then the card.

    Args:
        study: the configuration of the run.
        trial: a trial with results.
        result: its results.
        results: the results of the run.
    """
    backbone, training = trial.backbone.open(), result.training or {}
    template = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=False,  # Markdown
    ).get_template("model_card.md.j2")  # fmt: skip
    return template.render(
        metadata=_metadata(study, trial, result, results).to_yaml(),
        study=_inline(study.name),
        trial=trial,
        backbone=backbone,
        untrained=backbone.untrained and trial.backbone.weights is None,
        weights=_weights(results, trial),
        build=_build(results, trial),
        training=training,
        result=result,
        results=results,
        cohort=results.cohort,
        classes={label: _inline(name) for label, name in (results.cohort.classes or {}).items()},
        splits=[split for split in SPLITS if split in results.cohort.images],
        rows=[(title, _interval(number), number.n) for title, number in _shown(result)],
        confidence=f"{100 * study.statistics.confidence:g} %",
        balanced=study.training.balance != "none",
        threshold=result.threshold,
        lora=trial.strategy.name == "lora",
        licence=_licence(backbone.licence),
        size=IMAGE_SIZE,
    )


def model_config(study: Study, trial: Trial, result: TrialResult, results: Results) -> dict[str, Any]:
    """config.json of a trial: what a program needs to build, load and apply its model."""
    backbone, strategy = trial.backbone.open(), trial.strategy.open()
    return {
        "model_type": "retina-benchmark",
        "version": results.software.program.version,
        "backbone": {
            "name": trial.backbone.name,
            "architecture": backbone.architecture,
            "weights": _weights(results, trial),
            "licence": backbone.licence,
        },
        "strategy": {"name": trial.strategy.name} | vars(strategy),
        "seed": trial.seed,
        "image_size": IMAGE_SIZE,
        "mean": list(backbone.mean),
        "std": list(backbone.std),
        "labels": results.cohort.classes or {"0": "negative", "1": "positive"},
        "threshold": result.threshold,
        "explanation": {"method": study.explain.method, "block": study.explain.block},
    }


def _metadata(study: Study, trial: Trial, result: TrialResult, results: Results) -> ModelCardData:
    """The head of the card, as the hub checks it."""
    backbone, weights = trial.backbone.open(), _weights(results, trial) or {}
    licence, adapter = _licence(backbone.licence), trial.strategy.name == "lora"
    repository = weights.get("repository")
    return ModelCardData(
        license=licence,
        license_name=None if licence in HUB_LICENCES else "licence-of-the-backbone",
        library_name="peft" if adapter else "retina-benchmark",
        pipeline_tag="image-classification",
        base_model=repository,
        base_model_relation=("adapter" if adapter else "finetune") if repository else None,
        tags=["retina-benchmark", "medical", "ophthalmology", "fundus", trial.strategy.name.replace("_", "-")],
        model_name=trial.name,
        eval_results=[
            EvalResult(
                task_type="image-classification",
                dataset_type="synthetic" if study.cohort.synthetic else "private",
                dataset_name=study.name,
                dataset_split="test",
                metric_type=metric,
                metric_name=title + _bounds(number, study.statistics.confidence),
                metric_value=number.value,
            )
            for name, (title, metric) in METRICS.items()
            if metric is not None and (number := result.measures.get(name)) and number.value is not None
        ],
    )


def _shown(result: TrialResult) -> list[tuple[str, Number]]:
    found = [(title, result.measures[name]) for name, (title, _) in METRICS.items() if name in result.measures]
    return [(title, number) for title, number in found if number.value is not None]


def _interval(number: Number) -> str:
    if number.low is None or number.high is None:
        return f"{number.value:.3f}"
    return f"{number.value:.3f} ({number.low:.3f} to {number.high:.3f})"


def _bounds(number: Number, confidence: float) -> str:
    """The interval for the hub, which has no field for one."""
    known = number.low is not None and number.high is not None
    return f" ({100 * confidence:g} % CI {number.low:.3f} to {number.high:.3f})" if known else ""


def _weights(results: Results, trial: Trial) -> dict[str, Any] | None:
    """What identifies the backbone's weights, without their place on this machine; None for an untrained backbone."""
    record = results.weights.get(trial.backbone.name)
    return None if record is None else {key: value for key, value in record.items() if key != "path"}


def _build(results: Results, trial: Trial) -> str:
    """The Python expression that builds the backbone with the weights of the run."""
    weights, backbone = _weights(results, trial), trial.backbone.open()
    if weights is None:
        return "backbone.build()"
    if weights.get("revision") is not None:
        return f'backbone.at("{weights["revision"]}").build(sha256="{weights["sha256"]}")'
    file = "" if trial.backbone.weights is None and backbone.shipped else '"path/of/the/weights", '
    return f'backbone.build({file}sha256="{weights["sha256"]}")'


def _licence(text: str) -> str:
    """The hub's identifier of a licence, `other` if it has none."""
    plain = text.lower().removesuffix("(non-commercial)").strip().replace(" ", "-")
    return plain if plain in HUB_LICENCES else "other"


def _inline(text: str) -> str:
    """A name from the user's files as Markdown code, in which nothing is markup."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"

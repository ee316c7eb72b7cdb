"""The controls of a cell, each one record: its switch, its files, its columns and its methods all follow from it.

The function that computes a control stands in `benchmark.trial.compute_controls`, the one that reads it for the
leaderboard in `benchmark.analysis.control_estimates`, each under the control's name. docs/controls.md has the why.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from stats.intervals import Scale

# Of `xai.controls.null`, which loads torch; workers that need none read a configuration, too.
_FOV_RATIO = "vessel_ratio_fov"
_TESTED_RATIOS = ("vessel_ratio", _FOV_RATIO)


@dataclass(frozen=True)
class Number:
    """What a control adds to a row of the leaderboard and to the measures of `results.json`.

    images: the column that counts the images it is of, or the measure whose images they are; method: the key of
    `benchmark.report.results.methods`; scale: of its interval over patients, None where it has no interval; has_p: its
    p-value is in the column `<name>_p`.
    """

    name: str
    images: str
    method: str = "patients"
    scale: "Scale | None" = None
    has_p: bool = False


@dataclass(frozen=True)
class Method:
    """How a control's numbers came about; `{draws}`, `{seeds}` and `{images}` in the text are the settings."""

    name: str
    text: str
    permutes: bool = False  # as often as `draws` says


@dataclass(frozen=True)
class Control:
    """One control.

    name: its switch in the configuration, and of its files `<name>.json` and `<name>.parquet` in the folder of a trial;
    written_last: which of them; where it is there the control is complete; settings: the keys of `controls` on which
    its numbers depend; numbers and counts: its columns in the leaderboard; needs_erased: it shows a model images
    without vessels, which are the same for every cell.
    """

    name: str
    written_last: Literal["json", "parquet"]
    numbers: tuple[Number, ...]
    counts: tuple[str, ...]
    settings: tuple[str, ...] = ()
    methods: tuple[Method, ...] = ()
    needs_erased: bool = False

    @property
    def title(self) -> str:
        return self.name.replace("_", " ")

    @property
    def estimates(self) -> "dict[str, Scale]":
        """The numbers with an interval over patients, and its scale."""
        return {number.name: number.scale for number in self.numbers if number.scale is not None}


VESSEL_PERMUTATION = Control(
    name="vessel_permutation",
    written_last="parquet",
    numbers=(
        *(
            Number(f"{ratio}_{null}", ratio, method, has_p=True)
            for ratio in _TESTED_RATIOS
            for null, method in (("null", "vessel_permutation"), ("turned", "turned_vessels"))
        ),
        *(
            Number(f"{ratio}_over_{null}", ratio, scale="log")
            for ratio in _TESTED_RATIOS
            for null in ("null", "turned")
        ),
    ),
    counts=("n_disc",),
    settings=("draws",),
    methods=(
        Method(
            "vessel_permutation",
            "vessels of other patients: mean over all of them; one-sided p-value of the ratio from random permutations "
            "of patients",
            permutes=True,
        ),
        Method(
            "turned_vessels",
            "the eye's own vessels, turned and mirrored about the optic disc (the middle of the field of view where no "
            "disc is known): mean over all positions; one-sided p-value of the ratio from random positions",
            permutes=True,
        ),
    ),
)
OTHER_CLASS = Control(
    name="other_class",
    written_last="parquet",
    numbers=(
        Number(f"{_FOV_RATIO}_other", "n_other", scale="log"),
        Number(f"{_FOV_RATIO}_other_over_null", "n_other", scale="log"),
        Number(f"{_FOV_RATIO}_other_null", "n_other", "vessel_permutation", has_p=True),
    ),
    counts=("n_other",),
    settings=("draws",),
)
PARAMETER_RANDOMISATION = Control(
    name="parameter_randomisation",
    written_last="json",
    numbers=tuple(
        Number(name, "n_parameter_randomisation", "parameter_randomisation")
        for name in ("parameter_randomisation_classifier", "parameter_randomisation", "parameter_randomisation_others")
    ),
    counts=("n_parameter_randomisation",),
    settings=("seeds", "images"),
    methods=(
        Method(
            "parameter_randomisation",
            "size of the rank correlation with the map after re-initialising weights, mean over {seeds} seeds; "
            "parameter_randomisation_others: of maps of different patients' images, same model",
        ),
    ),
)
ERASURE = Control(
    name="erasure",
    written_last="parquet",
    numbers=(
        Number("auc_erased", "n_erased", scale="logit"),  # of the images without their vessels
        # AUC of the images less that without their vessels, less that of the control; the first drop less the second.
        *(Number(f"auc_drop_{drop}", "n_erased", scale="identity") for drop in ("erased", "control", "difference")),
    ),
    counts=("n_erased",),
    needs_erased=True,
)
CONTROLS: dict[str, Control] = {
    each.name: each for each in (VESSEL_PERMUTATION, OTHER_CLASS, PARAMETER_RANDOMISATION, ERASURE)
}

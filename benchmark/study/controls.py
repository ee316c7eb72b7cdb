"""The controls of a trial. Each control is one record that defines its switch, its files, its columns and its methods.

The function that computes a control is in `benchmark.trial.compute_controls`, and the one that reads it for the
leaderboard is in `benchmark.analysis.control_estimates`, both under the control's name. docs/controls.md explains why
each control is needed.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from stats.intervals import Scale

# The same as in `xai.controls.null`, which imports torch: workers that do not need torch also read a configuration.
_FOV_RATIO = "vessel_ratio_fov"
_TESTED_RATIOS = ("vessel_ratio", _FOV_RATIO)


@dataclass(frozen=True)
class Number:
    """A number that a control adds to a row of the leaderboard and to the measures of `results.json`.

    Attributes:
        name: its column.
        images: the column that counts its images, or the measure that is computed from the same images.
        method: a key of `benchmark.report.results.methods`.
        scale: the scale of its interval over patients; None if it has no interval.
        has_p: whether the column `<name>_p` has its p-value.
    """

    name: str
    images: str
    method: str = "patients"
    scale: "Scale | None" = None
    has_p: bool = False


@dataclass(frozen=True)
class Method:
    """How a control's numbers are computed; the settings replace `{draws}`, `{seeds}` and `{images}` in the text."""

    name: str
    text: str
    permutes: bool = False  # `draws` times


@dataclass(frozen=True)
class Control:
    """One control.

    Attributes:
        name: its switch in the configuration, and the name of its files in the folder of a trial (`<name>.json` and
            `<name>.parquet`).
        written_last: which of the two files is written last; if it exists, the control is complete.
        numbers: its numbers in the leaderboard.
        counts: its other columns in the leaderboard.
        settings: the keys of `controls` on which its numbers depend.
        methods: how its numbers are computed.
        needs_erased: whether it needs images without vessels, which are the same for every cell.
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
            "ratio of the same maps on the vessels of other patients, mean over all of them; one-sided p-value of the "
            "ratio from random permutations of patients",
            permutes=True,
        ),
        Method(
            "turned_vessels",
            "ratio of the same maps on the eye's own vessels, rotated and mirrored about the optic disc (about the "
            "centre of the field of view if no disc is known), mean over all positions; one-sided p-value of the ratio "
            "from random positions",
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
            "absolute rank correlation with the map after re-initialising weights, mean over {seeds} seeds; "
            "parameter_randomisation_others: the same between maps of different patients' images, same model",
        ),
    ),
)
ERASURE = Control(
    name="erasure",
    written_last="parquet",
    numbers=(
        Number("auc_erased", "n_erased", scale="logit"),  # AUC on the images without vessels
        # AUC minus the AUC without vessels, AUC minus the AUC of the control, and the first drop minus the second.
        *(Number(f"auc_drop_{drop}", "n_erased", scale="identity") for drop in ("erased", "control", "difference")),
    ),
    counts=("n_erased",),
    needs_erased=True,
)
CONTROLS: dict[str, Control] = {
    each.name: each for each in (VESSEL_PERMUTATION, OTHER_CLASS, PARAMETER_RANDOMISATION, ERASURE)
}

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from benchmark.report.charts.names import cell_names, printable, shortened


def cells(*rows: tuple[str, str, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["backbone", "strategy", "seed"], orient="row")


def test_a_cell_is_its_backbone_and_strategy_and_its_seed_where_there_are_several() -> None:
    assert cell_names(cells(("dinov2", "lora", 0), ("dinov2", "full", 0)), 50) == ["dinov2, lora", "dinov2, full"]
    assert cell_names(cells(("dinov2", "lora", 0), ("dinov2", "lora", 7)), 50) == [
        "dinov2, lora, seed 0",
        "dinov2, lora, seed 7",
    ]


def test_a_long_backbone_gives_way_to_the_strategy() -> None:
    (name,) = cell_names(cells(("timm:vit_small_patch14_dinov2.lvd142m", "classifier_only", 0)), 40)
    assert name == "timm:vit_sm…ov2.lvd142m, classifier_only"
    assert len(name) == 40


@given(st.text("abc"), st.integers(3, 40))
def test_shortened_keeps_both_ends(text: str, letters: int) -> None:
    start, *end = shortened(text, letters).split("…")
    assert text == start if not end else text.startswith(start) and text.endswith(end[0])
    assert len(shortened(text, letters)) == min(letters, len(text))


def test_control_characters_are_replaced() -> None:
    assert printable("vit\x1b[31m\x00ü") == "vit�[31m�ü"

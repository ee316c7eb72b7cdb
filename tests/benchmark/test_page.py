"""leaderboard.html read back by an HTML parser, as a browser would find it."""

import base64
import dataclasses
import io
import itertools
from html.parser import HTMLParser
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmark import ratios
from benchmark.leaderboard import CORRELATION_SCHEMA, SCHEMA
from benchmark.page import Axis, PageContent, render
from xai.examples import RULE

BACKBONES = ("openclip-tiny", "dinov2-tiny", "timm:vit_tiny")
STRATEGIES = ("classifier_only", "partial", "lora")
FAILED = ("dinov2-tiny", "lora")
REASON = "train: out of memory"
ATTACK = "<script>alert('1')</script>\"'&"
VOID = {"meta", "link", "img", "br", "wbr", "line", "circle"}


class _Tree(HTMLParser):
    """HTML -> an element tree; a tag that is left open or closed twice fails."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.builder = TreeBuilder()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in VOID:
            self.builder.end(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.builder.end(tag).tag == tag

    def handle_data(self, data: str) -> None:
        self.builder.data(data)


def parse(page: str) -> Element:
    tree = _Tree()
    tree.feed(page)
    tree.close()
    return tree.builder.close()


def text(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def having(root: Element, attribute: str, value: str) -> list[Element]:
    """Elements with `value` among the words of an attribute."""
    return [element for element in root.iter() if value in element.get(attribute, "").split()]


def rows(root: Element, table: str = "table-leaderboard") -> list[Element]:
    (found,) = having(root, "id", table)
    return [row for body in found.iter("tbody") for row in body.iter("tr")]


def row_of(root: Element, backbone: str, strategy: str, table: str = "table-leaderboard") -> Element:
    (found,) = [row for row in rows(root, table) if [text(th) for th in row.iter("th")] == [backbone, strategy]]
    return found


def cells(seeds: tuple[int, ...] = (0,)) -> pl.DataFrame:
    made = []
    for place, (seed, backbone, strategy) in enumerate(
        (seed, backbone, strategy) for seed in seeds for backbone in BACKBONES for strategy in STRATEGIES
    ):
        cell = {"backbone": backbone, "strategy": strategy, "seed": seed, "status": "ok"}
        if (backbone, strategy) == FAILED:
            made.append(cell | {"status": REASON})
            continue
        counts = {"n_images": 1234, "n_patients": 617, "n_positive": 400, "n_ratio": 1230, "threshold": 0.4375}
        estimates = {"auc": 0.8 - place / 100, "f1": 0.7 - place / 100}
        for offset, region in enumerate(("artery", "vein", "vessel")):
            estimates |= {
                f"{region}_ratio": 1.2 + offset / 10 + place / 50,
                f"{region}_ratio_fov": 1.1 + offset / 10 + place / 50,
            }
        estimates |= {"auc_drop_erased": 0.05, "auc_drop_control": -0.01, "auc_drop_difference": 0.06}
        nulls = {"vessel_ratio_fov_null": 1.05, "vessel_ratio_fov_null_p": 0.0123}
        models = {"model_null_classifier": 0.31, "model_null": 0.12, "n_erased": 1200}
        bounds = {f"{k}_low": v - 0.05 for k, v in estimates.items()} | {
            f"{k}_high": v + 0.06 for k, v in estimates.items()
        }
        made.append(cell | counts | estimates | nulls | models | bounds)
    return pl.DataFrame(made, schema=SCHEMA).sort("auc", descending=True, nulls_last=True)


def every_ratio(leaderboard: pl.DataFrame) -> pl.DataFrame:
    """Ratios that tell by their value where they come from."""
    conventions = [
        ("vessel", against, scaling, average)
        for scaling in ("minmax", "raw")
        for against in ("non_vessel", "non_vessel_fov")
        for average in ("images", "people", "sums")
    ]
    conventions += [("ring", "fov", "minmax", "images"), ("superior_nasal", "fov", "minmax", "images")]
    return pl.DataFrame(
        [
            dict(zip(("region", "against", "scaling", "average"), convention, strict=True))
            | {"backbone": row["backbone"], "strategy": row["strategy"], "seed": row["seed"]}
            | {"ratio": 1 + place / 10, "low": 0.9 + place / 10, "high": 1.1 + place / 10}
            for row in leaderboard.filter(pl.col("status") == "ok").iter_rows(named=True)
            for place, convention in enumerate(conventions)
        ],
        schema=ratios.SCHEMA,
    )


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> PageContent:
    picture = tmp_path_factory.mktemp("pictures") / "mean_cam.png"
    Image.new("RGB", (224, 224), (200, 80, 30)).save(picture)
    correlation = {
        "performance": "auc",
        "explainability": "vessel_ratio",
        "rho": -0.3095,
        "rho_low": -0.71,
        "rho_high": 0.25,
        "p_value": 0.4621,
        "n_cells": 8,
        "method": "exact permutation",
    }
    return PageContent(
        title="Carotid study",
        method="Grad-CAM",
        notices=["Data are synthetic.", "Towers are untrained."],
        leaderboard=cells(),
        ratios=every_ratio(cells()),
        failed_controls=["dinov2-tiny-partial-s0, model null: out of memory"],
        correlation=pl.DataFrame([correlation], schema=CORRELATION_SCHEMA),
        pictures={"openclip-tiny-lora-s0": picture, "timm_vit_tiny-partial-s0": picture},
        photograph=None,
        examples={
            "openclip-tiny, lora, seed 0": [(picture, "Photograph and its map")],
            "dinov2-tiny, lora, seed 0": [],
        },
        cohort=pl.DataFrame(
            {"split": ["train", "test"], "images": [1500, 500], "people": [750, 250], "positive": [600, 125]}
        ),
        left_out=pl.DataFrame(
            {"image": ["a.png"], "split": [None], "reason": ["truncated"]},
            schema={"image": pl.String, "split": pl.String, "reason": pl.String},
        ),
        facts={"Machine": {"CPUs": "2"}, "Software": {"torch": "2.15.0"}},
        configuration="name: Carotid study\nseeds: [0]\n",
        confidence=0.95,
    )


@pytest.fixture(scope="module")
def page(content: PageContent) -> Element:
    return parse(render(content))


def changed(content: PageContent, **changes: object) -> Element:
    return parse(render(dataclasses.replace(content, **changes)))


def test_one_row_a_cell_in_the_order_of_the_leaderboard(page: Element, content: PageContent) -> None:
    named = [tuple(text(th) for th in row.iter("th")) for row in rows(page)]
    assert named == content.leaderboard.select("backbone", "strategy").rows()
    done = content.leaderboard.filter(pl.col("status") == "ok")
    assert [tuple(text(th) for th in row.iter("th")) for row in rows(page, "table-fov")] == done.select(
        "backbone", "strategy"
    ).rows()


def test_estimates_stand_with_their_intervals(page: Element) -> None:
    shown = [text(cell) for cell in row_of(page, "openclip-tiny", "classifier_only").iter("td")]
    assert shown == [
        "0.800 0.750–0.860",
        "0.700 0.650–0.760",
        "1.40 1.35–1.46",  # vessel, artery, vein
        "1.20 1.15–1.26",
        "1.30 1.25–1.36",
    ]
    inside = [text(cell) for cell in row_of(page, "openclip-tiny", "classifier_only", "table-fov").iter("td")]
    assert inside[:3] == ["1.30 1.25–1.36", "1.10 1.05–1.16", "1.20 1.15–1.26"]
    assert inside[3:] == ["0.438", "1 230", "1 234", "617", "400"]


def test_bars_are_drawn_to_the_scale_of_their_axis(page: Element) -> None:
    bar = next(row_of(page, "openclip-tiny", "classifier_only").iter("svg"))
    drawn = {line.get("class"): (line.get("x1"), line.get("x2")) for line in bar.iter("line")}
    # The AUC axis runs from 0.3 to 1.
    assert drawn["reference"] == ("28.57%", "28.57%")
    assert drawn["span"] == ("64.29%", "80.0%")
    assert drawn["point"] == ("71.43%", "71.43%")


def test_every_bar_lies_on_its_axis(page: Element) -> None:
    lines = [line for svg in page.iter("svg") for line in svg.iter("line")]
    places = [float(line.get(end, "").rstrip("%")) for line in lines for end in ("x1", "x2")]
    assert (min(places), max(places)) == (0, 100)


def test_controls_stand_beside_the_ratio_they_question(page: Element, content: PageContent) -> None:
    shown = [text(cell) for cell in row_of(page, "openclip-tiny", "classifier_only", "table-controls").iter("td")]
    assert shown == [
        "1.30", "1.05", "0.012", "0.31", "0.12",
        "+0.050 0.000 to 0.110", "−0.010 −0.060 to 0.050", "+0.060 0.010 to 0.120",
    ]  # fmt: skip
    assert "Not computed: dinov2-tiny-partial-s0, model null: out of memory" in text(page)
    unasked = [pl.lit(None).alias(name) for name in ("vessel_ratio_fov_null", "model_null", "n_erased")]
    assert not having(changed(content, leaderboard=content.leaderboard.with_columns(unasked)), "id", "table-controls")


def test_conventions_are_changed_one_at_a_time(page: Element) -> None:
    (table,) = having(page, "id", "table-conventions")
    heads = [text(th) for th in table.iter("th") if th.get("scope") == "col"][2:]
    shown = [text(cell) for cell in row_of(page, "openclip-tiny", "partial", "table-conventions").iter("td")]
    # As `every_ratio` counts its conventions.
    assert dict(zip(heads, shown, strict=True)) == {
        "As above": "1.00 0.90–1.10",
        "Inside the field of view": "1.30 1.20–1.40",
        "Raw maps": "1.60 1.50–1.70",
        "Every person alike": "1.10 1.00–1.20",
        "Ratio of sums": "1.20 1.10–1.30",
    }


def test_other_regions_are_columns(page: Element, content: PageContent) -> None:
    (table,) = having(page, "id", "table-regions")
    assert [text(th) for th in table.iter("th") if th.get("scope") == "col"][2:] == ["Ring", "Superior nasal"]
    shown = [text(cell) for cell in row_of(page, "openclip-tiny", "lora", "table-regions").iter("td")]
    assert shown == ["2.20 2.10–2.30", "2.30 2.20–2.40"]
    without = changed(content, ratios=content.ratios.clear())
    assert not having(without, "id", "table-regions")
    assert not having(without, "id", "table-conventions")


def test_a_failed_cell_comes_last_and_says_why(page: Element) -> None:
    last = rows(page)[-1]
    assert [text(th) for th in last.iter("th")] == list(FAILED)
    assert [text(td) for td in last.iter("td")] == [f"Failed: {REASON}"]


def test_all_cells_failed(content: PageContent) -> None:
    gone = [pl.lit(None, pl.Float64).alias(name) for name, kind in SCHEMA.items() if kind == pl.Float64]
    page = changed(content, leaderboard=content.leaderboard.with_columns(*gone, status=pl.lit("no weights")))
    assert all("Failed: no weights" in text(row) for row in rows(page))
    assert not having(page, "id", "table-fov")


def test_several_seeds_get_a_column_and_a_row_of_pictures_each(page: Element, content: PageContent) -> None:
    def heads(root: Element) -> list[str]:
        (table,) = having(root, "id", "table-leaderboard")
        return [text(th) for th in table.iter("th") if th.get("scope") == "col"]

    assert heads(page) == ["Backbone", "Strategy", "AUC", "F1", "Vessel", "Artery", "Vein"]
    seeded = changed(content, leaderboard=cells(seeds=(0, 7)))
    assert heads(seeded)[:3] == ["Backbone", "Strategy", "Seed"]
    assert len(rows(seeded)) == 18
    assert len(having(page, "class", "maps")) == 3
    titles = [text(line.find("h3")) for line in having(seeded, "class", "maps")]  # type: ignore[arg-type]
    assert titles == [f"{backbone} seed {seed}" for backbone in sorted(BACKBONES) for seed in (0, 7)]


def test_pictures_are_embedded_and_absent_ones_said(page: Element, content: PageContent) -> None:
    pictures = {
        image.get("alt"): image.get("src", "") for line in having(page, "class", "maps") for image in line.iter("img")
    }
    assert set(pictures) == {"Mean Grad-CAM of openclip-tiny, lora", "Mean Grad-CAM of timm:vit_tiny, partial"}
    kind, data = pictures["Mean Grad-CAM of openclip-tiny, lora"].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == content.pictures["openclip-tiny-lora-s0"].read_bytes()
    assert sorted(text(box) for box in having(page, "class", "no-picture")) == ["failed"] + 6 * ["no picture"]
    for line in having(page, "class", "maps"):
        assert [text(caption).split()[0] for caption in line.iter("figcaption")] == list(STRATEGIES)


def test_examples_are_embedded_with_their_description(page: Element, content: PageContent) -> None:
    (figure,) = having(page, "class", "example")
    (image,) = figure.iter("img")
    assert image.get("alt") == "Photograph and its map"
    kind, data = image.get("src", "").split(",")
    assert kind == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as embedded:
        assert embedded.size == (224, 224)
    assert RULE in text(page)
    assert not having(changed(content, examples={}), "id", "examples")


def test_the_mean_photograph_is_shown_where_there_is_one(content: PageContent, tmp_path: Path) -> None:
    photograph = tmp_path / "mean.jpg"
    Image.new("RGB", (8, 8)).save(photograph)
    first = next(changed(content, photograph=photograph).iter("img"))
    assert first.get("alt") == "Mean photograph"
    assert first.get("src", "").startswith("data:image/jpeg;base64,")


def test_the_correlation_is_a_sentence(page: Element) -> None:
    (found,) = having(page, "class", "lead")
    assert text(found) == (
        "Over 8 cells, Spearman’s ρ between AUC and the vessel ratio is −0.31 "
        "(95 % interval −0.71 to 0.25; p = 0.462, exact permutation)."
    )


@pytest.mark.parametrize(("p_value", "written"), [(1.0, "p = 1.000"), (2 / 362_880, "p = 5.5 × 10⁻⁶")])
def test_small_p_values_stay_exact(content: PageContent, p_value: float, written: str) -> None:
    page = changed(content, correlation=content.correlation.with_columns(p_value=pl.lit(p_value)))
    assert written in text(having(page, "class", "lead")[0])


def test_an_undefined_correlation_says_so(content: PageContent) -> None:
    undefined = content.correlation.with_columns(
        rho=pl.lit(float("nan")), p_value=pl.lit(None, pl.Float64), n_cells=pl.lit(1, pl.Int64)
    )
    told = text(changed(content, correlation=undefined))
    assert "correlation between AUC and the vessel ratio is undefined over 1 cell:" in told
    assert "No correlation was computed." in text(changed(content, correlation=content.correlation.clear()))


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_nulls_are_dashes_without_a_bar(content: PageContent, missing: float | None) -> None:
    here = (pl.col("backbone") == "openclip-tiny") & (pl.col("strategy") == "partial")
    gone = [
        pl.when(here).then(pl.lit(missing, pl.Float64)).otherwise(pl.col(name)).alias(name)
        for name in ("vein_ratio", "vein_ratio_low", "vein_ratio_high", "auc_low", "threshold")
    ]
    page = changed(content, leaderboard=content.leaderboard.with_columns(gone))
    auc, _, _, _, vein = row_of(page, "openclip-tiny", "partial").iter("td")
    assert text(vein) == "–"
    assert vein.get("data-value") == ""
    assert vein.find("svg") is None
    assert text(auc) == "0.790 –"
    assert [line.get("class") for line in auc.iter("line")] == ["reference", "point"]
    threshold = row_of(page, "openclip-tiny", "partial", "table-fov").findall("td")[3]
    assert (text(threshold), threshold.get("data-value")) == ("–", "")


def test_nothing_is_loaded(page: Element, content: PageContent) -> None:
    loading = ("src", "href", "srcset", "action", "data", "poster")
    addresses = {element.get(name, "data:") for element in page.iter() for name in loading}
    assert {address for address in addresses if not address.startswith("data:")} == {
        "leaderboard.csv",
        "leaderboard.parquet",
        "ratios.csv",
        "correlation.csv",
    }
    style = "".join(text(style) for style in page.iter("style"))
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = [meta.get("content", "") for meta in page.iter("meta") if "http-equiv" in meta.attrib]
    assert policy.startswith("default-src 'none'")


def test_text_from_outside_is_never_markup(content: PageContent, page: Element) -> None:
    def attack(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
        return frame.with_columns((pl.col(name) + ATTACK).alias(name) for name in columns)

    done, failed = content.leaderboard.head(-1), content.leaderboard.tail(1)
    attacked = changed(
        content,
        title=ATTACK,
        notices=[ATTACK],
        failed_controls=[ATTACK],
        ratios=attack(content.ratios, "region"),
        leaderboard=attack(pl.concat([done, attack(failed, "status")]), "backbone", "strategy"),
        correlation=attack(content.correlation, "performance", "explainability", "method"),
        cohort=attack(content.cohort, "split"),
        left_out=attack(content.left_out, "image", "reason"),
        facts={ATTACK: {ATTACK: ATTACK}},
        configuration=ATTACK,
    )

    def scripts(root: Element) -> list[str]:
        return [text(script) for script in root.iter("script")]

    assert scripts(attacked) == scripts(page)
    assert text(attacked).count("alert('1')") > 20
    assert {name for element in attacked.iter() for name in element.attrib} <= {
        name for element in page.iter() for name in element.attrib
    }


@settings(max_examples=15, deadline=None)
@given(st.text(st.characters(blacklist_categories=("C", "Z")), min_size=1, max_size=20))
def test_any_text_comes_back_as_it_was(content: PageContent, written: str) -> None:
    page = changed(
        content, title=written, configuration=written, facts={"Data": {written: written}}, pictures={}, examples={}
    )
    for tag in ("h1", "pre", "dt", "dd"):
        assert "".join(next(page.iter(tag)).itertext()) == written


def test_left_out_images_are_counted_and_the_first_listed(content: PageContent) -> None:
    assert "No image was left out." in text(changed(content, left_out=content.left_out.clear()))
    many = pl.concat([content.left_out] * 60).with_columns(pl.format("{}.png", pl.int_range(pl.len())).alias("image"))
    (found,) = [element for element in changed(content, left_out=many).iter("details") if "left out" in text(element)]
    assert text(found.find("summary")).startswith("60 images")  # type: ignore[arg-type]
    listed = [text(row) for body in found.iter("tbody") for row in body.iter("tr")]
    assert len(listed) == 50
    assert listed[0] == "0.png–truncated"


def test_the_cohort_adds_up(page: Element) -> None:
    (table,) = [table for table in page.iter("table") if "Images used" in text(table)]
    assert [[text(cell) for cell in row] for row in table.iter("tr")] == [
        ["Split", "Images", "People", "Positive images"],
        ["train", "1 500", "750", "600 (40 %)"],
        ["test", "500", "250", "125 (25 %)"],
        ["all", "2 000", "1 000", "725 (36 %)"],
    ]


def test_facts_and_configuration_are_there(page: Element, content: PageContent) -> None:
    assert [text(key) for key in page.iter("dt")] == ["CPUs", "torch"]
    assert [text(value) for value in page.iter("dd")] == ["2", "2.15.0"]
    assert next(page.iter("pre")).text == content.configuration


def test_notices_stand_above_everything(page: Element, content: PageContent) -> None:
    (body,) = page.iter("body")
    assert body[0].get("class") == "notices"
    assert [text(notice) for notice in body[0]][1:] == content.notices


def test_without_notices_there_is_no_box(content: PageContent) -> None:
    assert not having(changed(content, notices=[]), "class", "notices")


def test_a_reader_with_a_screen_reader_finds_the_way(page: Element) -> None:
    assert page.get("lang") == "en"
    assert len(list(page.iter("main"))) == len(list(page.iter("h1"))) == 1
    levels = [int(element.tag[1]) for element in page.iter() if element.tag in {"h1", "h2", "h3"}]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    for table in page.iter("table"):
        assert text(table.find("caption"))  # type: ignore[arg-type]
    assert all(th.get("scope") in {"col", "row", "colgroup"} and text(th) for th in page.iter("th"))
    assert all(image.get("alt") for image in page.iter("img"))
    names = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(set(names)) == len(names)
    assert {element.get("aria-labelledby") for element in page.iter("section")} - {None} <= set(names)


def test_columns_sort_by_button_and_the_first_order_is_announced(page: Element) -> None:
    (table,) = having(page, "id", "table-leaderboard")
    heads = [th for th in table.iter("th") if th.get("scope") == "col"]
    assert all(th.find("button") is not None for th in heads)
    assert {text(th): th.get("aria-sort") for th in heads if th.get("aria-sort")} == {"AUC": "descending"}
    values = [[cell.get("data-value") for cell in row] for row in rows(page)[:-1]]
    assert all(value for row in values for value in row)
    assert values == sorted(values, key=lambda row: float(row[2] or 0), reverse=True)


def test_an_axis_end_gives_way_to_a_reference_close_by() -> None:
    assert Axis(0.9, 1.6, 1.0).labels() == [(14.29, "1"), (100.0, "1.6")]
    assert Axis(0.3, 1.0, 0.5).labels() == [(28.57, "0.5"), (0.0, "0.3"), (100.0, "1")]
    assert Axis(0.0, 1.0).labels() == [(0.0, "0"), (100.0, "1")]

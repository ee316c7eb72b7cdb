from benchmark.report.charts.styles import COLOURS, DASHES, SHAPES, Styles


def looks(styles: Styles) -> dict[str, tuple[object, ...]]:
    lines, points = styles.of_lines(), styles.of_points()
    scales = [channel.to_dict()["scale"] for channel in (lines["color"], lines["strokeDash"], points["shape"])]
    names = scales[0]["domain"]
    return {name: (*(str(scale["range"][place]) for scale in scales[:2]),) for place, name in enumerate(names)}


def test_a_strategy_looks_the_same_whichever_others_there_are() -> None:
    alone, among = looks(Styles(["lora"])), looks(Styles(["full", "lora", "adapters"]))
    assert alone["lora"] == among["lora"]


def test_strategies_differ_by_more_than_colour() -> None:
    every = looks(Styles(["a", "b", "c", "d"], ["treat all", "treat none"]))
    assert len(every) == 10
    assert len(set(every.values())) == 10
    assert len({dash for _, dash in looks(Styles([])).values()}) == 4
    assert len(set(DASHES)) == len(DASHES) and len(set(SHAPES)) == len(SHAPES) and len(set(COLOURS)) == len(COLOURS)


def test_references_are_thinner_paler_and_broken() -> None:
    channels = Styles(["classifier_only"], ["treat all", "treat none"]).of_lines(width=1.5)
    ranges = {name: channel.to_dict()["scale"]["range"] for name, channel in channels.items()}
    assert set(ranges["strokeWidth"][:4]) == {1.5} and max(ranges["strokeWidth"][4:]) < 1.5
    assert max(ranges["opacity"][4:]) < min(ranges["opacity"][:4]) == 1
    assert (1, 0) not in ranges["strokeDash"][4:] and len(set(map(str, ranges["strokeDash"]))) == 6


def test_the_legend_names_what_is_shown_in_a_fixed_order() -> None:
    styles = Styles(["lora", "classifier_only"], ["treat none"])
    assert styles.of_lines()["color"].to_dict()["legend"]["values"] == ["classifier_only", "lora", "treat none"]
    assert styles.of_points(with_legend=False)["shape"].to_dict()["legend"] is None


def test_the_legend_has_two_columns() -> None:
    heights = [Styles([f"strategy {place}" for place in range(n)]).legend_height for n in (1, 2, 3, 4)]
    assert heights[0] == heights[1] < heights[2] == heights[3] == 2 * heights[0]

"""The look of strategies, the same in every chart: a colour, and also a dash or a shape."""

from collections.abc import Iterable, Sequence
from typing import Any

import altair as alt

from benchmark.report.charts.drawing import QUIET
from benchmark.report.charts.names import printable
from finetune.strategies import STRATEGIES

# The lists differ in length: a fifth strategy has the colour of the first, but another dash and shape.
COLOURS = tuple(f"var(--series-{number})" for number in (1, 2, 3, 4))
DASHES = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3), (14, 4))
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down")
WIDTH = 1.75  # pixels, of a line
# Thin, pale and broken, because the first strategy is also grey.
_REFERENCE_DASHES = ((2, 3), (6, 4))
_REFERENCE_WIDTH, _REFERENCE_OPACITY = 1.0, 0.85
_LEGEND_COLUMNS = 2
_LEGEND_ROW = 20  # pixels: height of a sample of a line, or of a point with its padding


class Styles:
    """Channels and legends for the column `strategy` of a chart's rows.

    A strategy of `STRATEGIES` has the same look whichever other strategies there are. Up to two references, which share
    the column with the strategies, are drawn as pale grey broken lines.
    """

    def __init__(self, strategies: Iterable[str], references: Sequence[str] = ()) -> None:
        shown = {printable(name) for name in strategies}
        known = [*STRATEGIES, *sorted(shown - {*STRATEGIES, *references})]
        self._domain = [*known, *references]
        self._references = len(references)
        self._shown = [name for name in self._domain if name in shown or name in references]

    @property
    def legend_height(self) -> int:
        """Height of the legend in pixels."""
        return _LEGEND_ROW * -(-len(self._shown) // _LEGEND_COLUMNS)

    def of_lines(self, width: float = WIDTH) -> dict[str, Any]:
        """Colour, dash, width in pixels and opacity, with a legend."""
        legend = self._legend(symbolType="stroke", symbolSize=600)
        dashes = self._scale(DASHES, _REFERENCE_DASHES)
        widths = self._scale((width,), (_REFERENCE_WIDTH,) * 2)
        opacities = self._scale((1.0,), (_REFERENCE_OPACITY,) * 2)
        return {
            "color": self._colour(legend),
            "strokeDash": alt.StrokeDash("strategy:N", scale=dashes, legend=legend),
            "strokeWidth": alt.StrokeWidth("strategy:N", scale=widths, legend=legend),
            "opacity": alt.Opacity("strategy:N", scale=opacities, legend=legend),
        }

    def of_points(self, with_legend: bool = True) -> dict[str, Any]:
        """Colour and shape."""
        legend = self._legend(symbolSize=50, rowPadding=6) if with_legend else None
        shapes = alt.Shape("strategy:N", scale=self._scale(SHAPES), legend=legend)
        return {"color": self._colour(legend), "shape": shapes}

    def _legend(self, **options: Any) -> alt.Legend:
        return alt.Legend(values=self._shown, columns=_LEGEND_COLUMNS, **options)

    def _colour(self, legend: alt.Legend | None) -> alt.Color:
        return alt.Color("strategy:N", scale=self._scale(COLOURS, (QUIET, QUIET)), legend=legend)

    def _scale(self, looks: Sequence[Any], of_references: Sequence[Any] = ()) -> alt.Scale:
        known = len(self._domain) - self._references
        cycled = [looks[place % len(looks)] for place in range(known)]
        return alt.Scale(type="ordinal", domain=self._domain, range=[*cycled, *of_references[: self._references]])

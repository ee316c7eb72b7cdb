"""Flows made by hand: one of a folder with every kind of loss, one of a synthetic cohort without any, one external."""

from benchmark.analysis.flow import NO_MAP, NO_RATIO, Box, Counts, LeftOut

HOSTILE = "<script>alert('1')</script>\x1b"

EXPLAINED = Box("explained", Counts(1190, 600, 590, 300))
UNEXPLAINED = LeftOut("unexplained", Counts(13, 11, 10, 5), {NO_MAP: 8, NO_RATIO: 5})
MASKED = Box("masked", Counts(1203, 611, 600, 305), UNEXPLAINED, [EXPLAINED])
SCORED = Box(
    "scored",
    Counts(1234, 620, 612, 308),
    LeftOut("unmasked", Counts(31, 9, 12, 3), {"no artery_mask in the manifest": 20, HOSTILE: 11}),
    [MASKED],
)
TEST = Box("test", Counts(1234, 620, 612, 308), parts=[SCORED])
SPLITS = [Box("train", Counts(2400, 1200, 800, 400)), Box("val", Counts(600, 300, 200, 100)), TEST]
USED = Box("used", Counts(4234, 2120, 1612, 808), parts=SPLITS, repeated=17)
UNUSABLE = {"no such file": 15, "not a readable picture": 6, "a blank frame": 3, "too small to show vessels": 2}
LISTED = Box("listed", Counts(4260, 2125, 1618, 810), LeftOut("unusable", Counts(26, 5, 6, 2), UNUSABLE), [USED])
FOLDER = Box("found", Counts(4300), LeftOut("files", Counts(40), {"with the ending .txt": 38, "hidden": 2}), [LISTED])

_FEW = Counts(140, 70, 70, 35)
_CHAIN = Box("scored", _FEW, parts=[Box("masked", _FEW, parts=[Box("explained", _FEW)])])
EXTERNAL = Box("listed", _FEW, parts=[Box("used", _FEW, parts=[Box("test", _FEW, parts=[_CHAIN])])])
DRAWN = Box(
    "drawn",
    Counts(400, 200, 200, 100),
    parts=[
        Box(
            "used",
            Counts(400, 200, 200, 100),
            parts=[
                Box("train", Counts(200, 100, 100, 50)),
                Box("val", Counts(60, 30, 30, 15)),
                Box("test", _FEW, parts=[_CHAIN]),
            ],
        )
    ],
)

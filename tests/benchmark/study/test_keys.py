"""The keys of a configuration, tested on a model of its own: `Keys` uses only the schema."""

from pathlib import Path

import pytest
from pydantic import BaseModel, DirectoryPath, Field

from benchmark.errors import UserError
from benchmark.study.keys import Keys
from benchmark.study.schema import options_schema, schema_of


class Lens(BaseModel):
    focus: float = 1.0
    table: Path | None = None


class Flash(BaseModel):
    watts: int = 5
    log: Path = Path("flash.log")


class Filter(BaseModel):
    name: str

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema, handler):
        return {"anyOf": [options_schema("lens", Lens), options_schema("flash", Flash)]}


class Camera(BaseModel):
    label: str
    store: DirectoryPath
    lens: Lens | None = None
    more: list[Path] | None = None
    named: dict[str, Path] = Field(default_factory=dict)
    filters: list[str | Filter] = Field(default_factory=list)


KEYS = Keys(schema_of(Camera))


def test_paths_are_known_by_their_type_wherever_they_are():
    values = {
        "label": "not/a/path",
        "store": "photos",
        "lens": {"table": "lens.csv", "focus": "a/b"},
        "more": ["a", "/b", "~/c"],
        "named": {"left": "l"},
        "filters": ["lens", {"name": "flash", "log": "f.log"}, {"name": "lens", "log": "not known of a lens"}],
        "unknown": {"table": "x"},
    }
    assert KEYS.absolute(values, Path("/lab")) == values | {
        "store": "/lab/photos",
        "lens": {"table": "/lab/lens.csv", "focus": "a/b"},
        "more": ["/lab/a", "/b", str(Path.home() / "c")],
        "named": {"left": "/lab/l"},
        "filters": ["lens", {"name": "flash", "log": "/lab/f.log"}, {"name": "lens", "log": "not known of a lens"}],
    }


@pytest.mark.parametrize("value", [None, 3, [["x"]], "text"])
def test_values_of_another_type_are_left_to_be_refused(value):
    values = {"lens": value, "more": value, "filters": value, "named": value}
    assert KEYS.absolute(values, Path("/lab")) == values


def test_known_keys_of_a_section():
    assert KEYS.known((), {}) == ["label", "store", "lens", "more", "named", "filters"]
    assert KEYS.known(("lens",), {"lens": {}}) == ["focus", "table"]
    assert KEYS.known(("filters", 1), {"filters": ["lens", {"name": "flash"}]}) == ["name", "watts", "log"]


@pytest.mark.parametrize(
    ("dotted", "value", "changed"),
    [
        ("label", "b/c", {"label": "b/c"}),
        ("lens.focus", 2, {"lens": {"focus": 2}}),
        ("lens.table", "t", {"lens": {"table": "/lab/t"}}),
        ("lens", {"table": "t"}, {"lens": {"table": "/lab/t"}}),
        ("more.1", "z", {"more": ["a", "/lab/z"]}),
        ("filters.0.log", "z", {"filters": [{"name": "flash", "log": "/lab/z"}]}),
        ("filters.0", "lens", {"filters": ["lens"]}),
    ],
)
def test_a_value_is_replaced_and_nothing_else(dotted, value, changed):
    values = {"label": "a", "lens": None, "more": ["a", "b"], "filters": ["flash"]}
    assert KEYS.replaced(values, dotted, value, Path("/lab")) == values | changed
    assert values == {"label": "a", "lens": None, "more": ["a", "b"], "filters": ["flash"]}


@pytest.mark.parametrize(
    ("dotted", "reason"),
    [
        ("lable", "unknown key; did you mean label"),
        ("lense.focus", "unknown key; did you mean lens.focus?"),
        ("focus", "unknown key; did you mean lens.focus?"),
        ("filters.0.wats", "unknown key; did you mean filters.0.watts"),
        ("filters.0.table", "unknown key; did you mean lens.table?"),
        (
            "more.2",
            "position 2 does not exist in a list of length 2 (positions start at 0); did you mean more.1 or more.0?",
        ),
        ("label.x", "unknown key; did you mean label"),
        ("", "unknown key; known: label, store, lens, more, named, filters"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(dotted, reason):
    with pytest.raises(UserError) as caught:
        KEYS.replaced({"label": "a", "more": ["a", "b"], "filters": ["flash"]}, dotted, 1, Path("/lab"))
    assert str(caught.value).startswith(f"--set {dotted}: {reason}")


def test_a_key_below_a_faulty_section_is_unknown():
    """The section is left for validation to refuse, not replaced."""
    with pytest.raises(UserError, match=r"--set lens\.focus: unknown key"):
        KEYS.replaced({"lens": "wide"}, "lens.focus", 2, Path("/lab"))

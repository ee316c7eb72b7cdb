"""JSON Schemas of models, described by their docstrings."""

from dataclasses import dataclass

from jsonschema import Draft7Validator
from pydantic import BaseModel

from benchmark.study.schema import options_schema, schema_of


@dataclass(frozen=True)
class Wheel:
    """Turns around
    an axis.

    Attributes:
        radius: of the rim,
            in metres.

    Raises:
        ValueError: it is flat.
    """

    radius: float = 0.3
    spokes: int = 32


class Cart(BaseModel):
    """Carries.

    Attributes:
        wheel: the one it has.
    """

    wheel: Wheel = Wheel()


def test_docstrings_describe_the_keys():
    schema = schema_of(Cart)
    wheel = schema["$defs"]["Wheel"]
    assert (schema["description"], schema["properties"]["wheel"]["description"]) == ("Carries.", "the one it has.")
    assert wheel["description"] == "Turns around an axis."
    assert wheel["properties"]["radius"] == {"default": 0.3, "description": "of the rim, in metres.", "type": "number"}
    assert wheel["properties"]["spokes"] == {"default": 32, "type": "integer"}
    assert "title" not in schema
    assert schema["$schema"] == Draft7Validator.META_SCHEMA["$id"]


def test_options_go_with_a_name():
    validator = Draft7Validator(options_schema("wheel", Wheel))
    assert validator.is_valid({"name": "wheel", "spokes": 3})
    for faulty in (
        {"spokes": 3},
        {"name": "disc"},
        {"name": "wheel", "spoke": 3},
        {"name": "wheel", "spokes": "three"},
    ):
        assert not validator.is_valid(faulty)

"""The JSON Schema of a configuration, from its types and the docstrings that describe them."""

import inspect
import re
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a model's YAML files; the section "Attributes:" of a docstring describes the keys.

    Draft 7 is the newest version that editors support in full.
    """
    draft = {"$schema": GenerateDocumented.schema_dialect}
    return draft | model.model_json_schema(schema_generator=GenerateDocumented)


def options_schema(name: str, kind: type) -> dict[str, Any]:
    """The schema of a dataclass with options that is chosen by name: its keys, and `name`."""
    schema = TypeAdapter(kind).json_schema(schema_generator=GenerateDocumented)
    described = {"const": name, "type": "string", "description": schema.pop("description")}
    schema["properties"] = {"name": described} | schema["properties"]
    return schema | {"required": ["name"], "additionalProperties": False}


class GenerateDocumented(GenerateJsonSchema):
    """Describe keys by docstrings, and leave out titles, which only repeat the keys."""

    schema_dialect = "http://json-schema.org/draft-07/schema#"

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        return _documented(super().model_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        return _documented(super().dataclass_schema(schema), schema["cls"])


def _documented(schema: JsonSchemaValue, kind: type) -> JsonSchemaValue:
    summary, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    described = dict(re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", attributes, re.MULTILINE))
    schema.pop("title", None)
    schema["description"] = " ".join(summary.split())
    for name, value in schema.get("properties", {}).items():
        if name in described:
            value["description"] = " ".join(described[name].split())
    return schema

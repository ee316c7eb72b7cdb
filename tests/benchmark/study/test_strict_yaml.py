"""YAML without duplicate keys and without Python objects."""

import pytest
import yaml

from benchmark.study.strict_yaml import read_yaml


def test_values_are_those_of_yaml(tmp_path):
    assert read_yaml("a: {b: [1, 2.5, null, x]}\nc: 'yes'") == {"a": {"b": [1, 2.5, None, "x"]}, "c": "yes"}
    path = tmp_path / "a.yaml"
    path.write_text("a: 1", encoding="utf-8")
    with path.open(encoding="utf-8") as file:
        assert read_yaml(file) == {"a": 1}


def test_the_same_key_in_two_sections_is_not_a_duplicate():
    assert read_yaml("a: {x: 1}\nb: {x: 2}") == {"a": {"x": 1}, "b": {"x": 2}}
    with pytest.raises(yaml.YAMLError, match="duplicate key 'x'"):
        read_yaml("a: {x: 1, y: 2, x: 3}")


def test_no_objects_are_made():
    with pytest.raises(yaml.YAMLError, match="could not determine a constructor"):
        read_yaml("!!python/object/apply:os.getcwd []")

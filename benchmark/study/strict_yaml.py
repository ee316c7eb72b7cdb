"""Read YAML as a configuration may use it: plain values only, and no duplicate keys."""

from typing import Any, TextIO

import yaml


def read_yaml(source: str | TextIO) -> Any:
    """The values of one YAML document.

    Raises:
        yaml.YAMLError: not valid YAML, or a duplicate key; PyYAML itself would use the last one without an error.
    """
    return yaml.load(source, _Loader)


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for place, (key, _) in enumerate(node.value):
            if key.value in keys[:place]:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key.value!r}", key.start_mark)
        return super().construct_mapping(node, deep)

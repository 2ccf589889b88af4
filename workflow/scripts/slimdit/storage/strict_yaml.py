"""YAML files, of which nothing is dropped or guessed in silence."""

import re
from pathlib import Path

import yaml

from slimdit.core.errors import InputError

MERGE = "tag:yaml.org,2002:merge"  # of the key <<
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
OTHERWISE = re.compile(r"[-+]?(0[0-9_]+|[0-9_]+(:[0-9_.]+)+)")  # octal, to the base of 60


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, of which YAML's own loaders keep the last value, and
    numbers that are others to YAML 1.1 than to a reader: 0100, which is 64, and 1:30, which is 90.
    """

    def construct_scalar(self, node):
        is_number = node.tag in NUMBERS
        if is_number and (found := OTHERWISE.fullmatch(node.value)):
            raise InputError(
                f"line {node.start_mark.line + 1}: YAML reads {found[0]} as another number; write "
                "it in decimal digits, or in quotes where it is text."
            )
        return super().construct_scalar(node)

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        lines = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                name, line = self.construct_object(key), key.start_mark.line + 1
                if name in lines:
                    raise InputError(
                        f"line {line}: the key {key.value} is already on line {lines[name]}; "
                        "rename or remove one of them."
                    )
                lines[name] = line
        return node


def read_mapping(path: str | Path) -> dict:
    """The keys of a YAML file; raises InputError, with the line, for what is none."""
    try:
        found = yaml.load(Path(path).read_text(encoding="utf-8"), StrictLoader)
    except InputError as error:
        raise InputError(f"{path}, {error}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name a config.") from None
    except UnicodeDecodeError:
        raise InputError(
            f"{path} is not in UTF-8; save it so (PowerShell's > writes UTF-16)."
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # such as of the date 2024-13-45
        what = " ".join(str(error).split())
        raise InputError(f"{path} is not YAML ({what}); it should be a config.") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no keys; it should be a config such as config.yaml.")
    return found

"""The rows of a config: what an overlay drops, what a sweep stands for, and cycles among them."""

import copy
from collections.abc import Callable

from slimdit.core.errors import InputError


def with_rows(config: dict) -> dict:
    """The config with its rows as they are: without those that an overlay drops, by null in a row's
    place, and for a row with a `sweep` one for each of its values, which are a `family`.

    Raises InputError for a sweep that names no rows.
    """
    variants = config.get("variants")
    if not isinstance(variants, dict):
        return config
    rows: dict = {}
    for name, block in variants.items():
        if isinstance(block, dict) and "sweep" in block:
            rows |= _swept(name, block, {*variants, *rows})
        elif block is not None:
            rows[name] = block
    return config | {"variants": rows}


def _swept(family: str, block: dict, taken: set[str]) -> dict[str, dict]:
    """The rows "<family>-<value>" of `sweep: {option: values}`, an option such as sampling.steps or
    apply.0.keep_heads."""
    sweep = block["sweep"]
    (option, values), *others = sweep.items() if isinstance(sweep, dict) and sweep else [("", None)]
    if others or not isinstance(option, str) or not isinstance(values, list) or not values:
        raise InputError(
            f"config: variants.{family}.sweep is {sweep!r}; it should be one option and a list of "
            "its values, such as {sampling.steps: [5, 10, 20]}."
        )
    rows: dict[str, dict] = {}
    for value in values:
        parts = value if isinstance(value, list) else [value]
        name = "-".join(map(str, [family, *parts])).replace(".", "_")
        if name in taken or name in rows:
            raise InputError(
                f"config: variants.{family}.sweep makes a row {name}, which there is already; "
                "rename one or leave it out."
            )
        row = rows[name] = copy.deepcopy(block)
        del row["sweep"]
        row["family"] = family
        *outer, last = option.split(".")
        node = row
        try:
            for key in outer:
                node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
            node[int(last) if isinstance(node, list) else last] = value
        except (AttributeError, IndexError, TypeError, ValueError):
            raise InputError(
                f"config: variants.{family}.sweep: the row has no place for {option}; it should be "
                "the path of an option, such as sampling.steps or apply.0.keep_heads."
            ) from None
    return rows


def cycle_of(next_of: Callable[[str], list[str]], variant: str, known: dict) -> list[str]:
    """From the variant back to it, each one's next behind it; empty if none leads there."""
    chains, seen = [[variant]], set()
    while chains:
        chain = chains.pop()
        for target in next_of(chain[-1]):
            if target == variant:
                return [*chain, target]
            if target in known and target not in seen:
                seen.add(target)
                chains.append([*chain, target])
    return []

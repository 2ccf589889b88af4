"""Feature extractors by name: what the images of a study are compared in."""

import inspect

from slimdit.errors import InputError
from slimdit.features.efficientnet_lite0 import EfficientNetLite0
from slimdit.features.extractor import Extractor

EXTRACTORS = {"efficientnet-lite0": EfficientNetLite0}


def build_extractor(name: str, **options) -> Extractor:
    """Build the extractor `name` with its own options; raises InputError listing the known ones."""
    if name not in EXTRACTORS:
        known = ", ".join(sorted(EXTRACTORS))
        raise InputError(f"extractor {name!r} is unknown; it should be one of: {known}.")
    known = inspect.signature(EXTRACTORS[name]).parameters
    for option in options:
        if option not in known:
            raise InputError(
                f"extractor {name!r} has no option {option!r}; its options are: {', '.join(known)}."
            )
    return EXTRACTORS[name](**options)

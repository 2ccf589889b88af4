"""Feature extractors by name: what the images of a study are compared in."""

import importlib
import inspect

from slimdit.errors import InputError
from slimdit.features.extractor import Extractor

# Name to module and class, imported when built: they bring PyTorch or TensorFlow.
EXTRACTORS = {
    "efficientnet-lite0": ("efficientnet_lite0", "EfficientNetLite0"),
    "inception-2015": ("inception_2015", "Inception2015"),
}


def build_extractor(name: str, **options) -> Extractor:
    """Build the extractor `name` with its own options; raises InputError listing the known ones."""
    if name not in EXTRACTORS:
        known = ", ".join(sorted(EXTRACTORS))
        raise InputError(f"extractor {name!r} is unknown; it should be one of: {known}.")
    module, kind = EXTRACTORS[name]
    extractor = getattr(importlib.import_module(f"{__name__}.{module}"), kind)
    known = inspect.signature(extractor).parameters
    for option in options:
        if option not in known:
            raise InputError(
                f"extractor {name!r} has no option {option!r}; its options are: {', '.join(known)}."
            )
    for option, parameter in known.items():
        if parameter.default is parameter.empty and option not in options:
            raise InputError(f"extractor {name!r} lacks its option {option!r}; give it a value.")
    return extractor(**options)

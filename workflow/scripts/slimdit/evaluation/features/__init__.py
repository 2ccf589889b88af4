"""Feature extractors by name: what the images of a study are compared in.

`EXTRACTORS[name].feature_dims(image_size, **options)` says how many features an image has.
"""

from slimdit.core.registry import Registry

EXTRACTORS = Registry(
    "extractor",
    __name__,
    {
        "efficientnet-lite0": "efficientnet_lite0.EfficientNetLite0",
        "inception-2015": "inception_2015.Inception2015",
    },
)


def build_extractor(name: str, **options):
    """The extractor `name` with its own options; raises InputError for unknown ones."""
    return EXTRACTORS.build({"name": name, **options})

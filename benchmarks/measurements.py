"""Where a benchmark's numbers are kept."""

import re
from pathlib import Path


def default_path(what: str, device_name: str) -> Path:
    """docs/measurements/<what>-<device>.json."""
    slug = re.sub(r"[^a-z0-9]+", "-", device_name.lower()).strip("-")
    return Path("docs/measurements") / f"{what}-{slug}.json"

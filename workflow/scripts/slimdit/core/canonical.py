"""One form for equal values, so that they can be compared and named."""

import hashlib
import json


def canonical_json(value) -> str:
    """One string per value: equal values give equal strings, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(value):
    """An equal JSON value whose mappings are in the order of their keys."""
    return json.loads(canonical_json(value))


def fingerprint(value) -> str:
    """16 hex digits that name a JSON value: equal values have the same ones."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]

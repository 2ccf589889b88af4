"""Formats in which others publish a DiT: `Format()`, files to a structure and weights, and back."""

from slimdit.core.registry import Registry

FORMATS = Registry(
    "format",
    __name__,
    {"dit": "dit.DiTFormat", "diffusers": "diffusers.DiffusersFormat", "sit": "sit.SiTFormat"},
)

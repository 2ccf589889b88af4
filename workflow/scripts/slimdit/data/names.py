"""Names that a line of a CSV file can hold."""

import unicodedata

NOT_PLAIN = {"Cc", "Cs"}  # control characters, and bytes that are not UTF-8


def is_plain(name: str) -> bool:
    return NOT_PLAIN.isdisjoint(map(unicodedata.category, name))


def printable(name: str) -> str:
    return name if is_plain(name) else repr(name)

"""Metadata never decide about pixels: damaged, odd or large, the image is the same."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from slimdit.core.randomness import stream
from slimdit.data.images import NotAnImage, decode

PIXELS = stream(0, "metadata").integers(0, 256, (16, 12, 3), np.uint8)
UPSIDE_DOWN = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHHI", 0x0112, 3, 1, 3, 0, 0)


def encoded(file_format, **options):
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, file_format, **options)
    return file.getvalue()


def ifd(*entries, tail=b""):
    """An Exif block of one directory; entries: (tag, type, count, 4 bytes)."""
    head = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries))
    body = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return head + body + b"\0\0\0\0" + tail


def png(*chunks, before_end=()):
    """With (kind, data) or (kind, data, checksum) before the pixels, or behind them."""

    def written(kind, data, checksum=None):
        checksum = zlib.crc32(kind + data) if checksum is None else checksum
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    plain = encoded("PNG")
    first, last = (b"".join(written(*each) for each in some) for some in (chunks, before_end))
    return plain[:33] + first + plain[33:-12] + last + plain[-12:]


def jpeg(marker, data, place=2):
    segment = b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data
    plain = encoded("JPEG")
    return plain[:place] + segment + plain[place:]


def tiff(tag, kind, count, order="<"):
    """With one more entry, of this type and number of values, which lie behind the file's end."""
    height, width, channels = PIXELS.shape
    numbers = {256: width, 257: height, 259: 1, 262: 2, 273: 8, 277: channels, 278: height}
    entries = {each: struct.pack(f"{order}HII", 4, 1, value) for each, value in numbers.items()}
    entries[258] = struct.pack(f"{order}HII", 3, 3, 8 + PIXELS.size)  # bits of the channels
    entries[279] = struct.pack(f"{order}HII", 4, 1, PIXELS.size)
    entries[tag] = struct.pack(f"{order}HII", kind, count, 1 << 30)
    head = b"II*\0" if order == "<" else b"MM\0*"
    parts = [head, struct.pack(f"{order}I", 14 + PIXELS.size), PIXELS.tobytes()]
    parts += [struct.pack(f"{order}HHH", 8, 8, 8), struct.pack(f"{order}H", len(entries))]
    parts += [struct.pack(f"{order}H", each) + entries[each] for each in sorted(entries)]
    return b"".join([*parts, bytes(4)])


def with_short_icc(content):
    """A JPEG that Pillow does not open for what is beside its pixels."""
    return content[:2] + jpeg(0xE2, b"ICC_PROFILE\0")[2:18] + content[2:]


TURN = (0x0112, 3, 1, struct.pack("<HH", 3, 0))
BOMB = zlib.compress(bytes(2 << 20))
PNGS = {
    "large zTXt": png((b"zTXt", b"key\0\0" + BOMB)),
    "large iTXt": png((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB)),
    "large zTXt behind the pixels": png(before_end=[(b"zTXt", b"key\0\0" + BOMB)]),
    "much text": png(*[(b"tEXt", b"key\0" + b"x" * (1 << 20))] * 66),
    "large iCCP": png((b"iCCP", b"icc\0\0" + BOMB)),
    "iCCP of no method": png((b"iCCP", b"icc\0\5garbage")),
    "iCCP of garbage": png((b"iCCP", b"icc\0\0garbage")),
    "wrong checksum": png((b"tEXt", b"key\0text", 1)),
    **{f"short {kind}": png((kind.encode(), b"a")) for kind in ("pHYs", "gAMA", "cHRM", "acTL")},
    "eXIf of garbage": png((b"eXIf", b"garbage")),
    "eXIf with a wrong checksum": png((b"eXIf", UPSIDE_DOWN[6:], 1)),
    "raw profile": png((b"tEXt", b"Raw profile type exif\0\nexif\n 12\nzz00\n")),
    "short raw profile": png((b"tEXt", b"Raw profile type exif\0exif")),
}
JPEGS = {
    "Exif cut": jpeg(0xE1, b"Exif\0\0II*\0"),
    "Exif of garbage": jpeg(0xE1, b"Exif\0\0\xff\xfe\0garbage"),
    "orientation 0": jpeg(0xE1, ifd((0x0112, 3, 1, bytes(4)))),
    "orientation in words": jpeg(0xE1, ifd((0x0112, 2, 4, b"abc\0"))),
    "short JFIF": jpeg(0xE0, b"JFIF\0"),
    "short Adobe": jpeg(0xEE, b"Adobe"),
    "short ICC": jpeg(0xE2, b"ICC_PROFILE\0"),
    "ICC of garbage": jpeg(0xE2, b"ICC_PROFILE\0\3\1garbage"),
    "several pictures": jpeg(0xE2, b"MPF\0garbage"),
    "Photoshop": jpeg(0xED, b"Photoshop 3.0\0" + b"8BIM"),
    "XMP of garbage": jpeg(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='\xff"),
}
WEBPS = {
    "Exif of garbage": encoded("WEBP", lossless=True, exif=b"garbage"),
    "ICC of garbage": encoded("WEBP", lossless=True, icc_profile=b"garbage"),
}
TIFFS = {
    f"{name}{order}": tiff(*entry, order)
    for order in "<>"
    for name, entry in {
        "words as numbers": (270, 4, 1),
        "words as fractions": (270, 5, 1),
        "words of an unknown type": (270, 99, 1),
        "words that lie nowhere": (270, 2, 1 << 16),
        "Exif that lies nowhere": (34665, 4, 1),
        "ICC as numbers": (34675, 3, 1 << 16),
    }.items()
}


@pytest.mark.parametrize(
    ("content", "plain"),
    [
        *((content, "PNG") for content in PNGS.values()),
        *((content, "JPEG") for content in JPEGS.values()),
        *((content, "PNG") for content in [*WEBPS.values(), *TIFFS.values()]),
    ],
    ids=[*PNGS, *JPEGS, *WEBPS, *TIFFS],
)
def test_what_cannot_be_read_beside_the_pixels_changes_nothing(content, plain):
    assert np.array_equal(decode(content), decode(encoded(plain)))


@pytest.mark.parametrize(
    ("content", "plain"),
    [
        (png((b"eXIf", UPSIDE_DOWN[6:])), "PNG"),
        (png((b"eXIf", UPSIDE_DOWN[6:]), (b"zTXt", b"key\0\0" + BOMB)), "PNG"),
        (jpeg(0xE1, UPSIDE_DOWN), "JPEG"),
        (jpeg(0xE1, ifd(TURN, (0x011A, 2, 4, b"abc\0"))), "JPEG"),  # text for a number
        (jpeg(0xE1, ifd(TURN, (0x8769, 4, 1, b"\0\0\1\0"))), "JPEG"),  # leads nowhere
        (with_short_icc(jpeg(0xE1, ifd(TURN))), "JPEG"),
        (encoded("WEBP", lossless=True, exif=UPSIDE_DOWN), "PNG"),
        (encoded("TIFF", tiffinfo={0x0112: 3}), "PNG"),
    ],
)  # fmt: skip
def test_an_orientation_that_can_be_read_is_followed(content, plain):
    assert np.array_equal(decode(content), np.asarray(decode(encoded(plain)))[::-1, ::-1])


@pytest.mark.parametrize("content", [png((b"zTXt", b"key\0\0" + BOMB)), jpeg(0xEE, b"Adobe")])
def test_pixels_that_are_cut_are_refused_whatever_is_beside_them(content):
    for length in (len(content) - 60, len(content) // 2, 60, 3):
        with pytest.raises(NotAnImage):
            decode(content[:length])


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK"])
def test_colours_and_transparency_are_those_of_the_whole_file(mode):
    image = Image.fromarray(PIXELS).convert(mode)
    if mode == "P":
        image.info["transparency"] = 3
    file = io.BytesIO()
    image.save(file, "JPEG" if mode == "CMYK" else "PNG")
    plain = file.getvalue()
    odd = with_short_icc(plain)
    if mode != "CMYK":
        odd = plain[:33] + png((b"gAMA", b"a"))[33:46] + plain[33:]
    assert np.array_equal(decode(odd), decode(plain))

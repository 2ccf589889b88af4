"""Each row's samples of the prompts as one small picture, as text of a page."""

import base64
import io

import numpy as np
from PIL import Image

MOST_BYTES = 3_500_000  # of all pictures of a page, as text
SIDES = (128, 96, 64, 48, 32, 24)  # pixels of a sample, the largest that fit are taken
WEBP = {"format": "WEBP", "quality": 85, "method": 4}


def strips(images: dict[str, np.ndarray]) -> dict[str, str]:
    """By variant a data URI of its samples side by side.

    images: (P, H, W, 3) uint8 of each variant, of the same P prompts. They are made smaller where
    they would take more than 3.5 MB.
    """
    for side in SIDES:
        made = {variant: _data_uri(each, side) for variant, each in images.items()}
        if sum(map(len, made.values())) <= MOST_BYTES:
            break
    return made


def _data_uri(images: np.ndarray, side: int) -> str:
    side = min(side, images.shape[1])
    row = Image.fromarray(np.concatenate(list(images), axis=1))
    small = row.resize((side * len(images), side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, **WEBP)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"

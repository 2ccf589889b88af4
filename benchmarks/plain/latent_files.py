"""Latents as fast-DiT keeps them: two small files an image, read one after the other."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor


class LatentFiles:
    """features/<i>.npy (1, C, H, W) float32 and labels/<i>.npy (1,) in a folder."""

    def __init__(self, folder: Path):
        self.features, self.labels = folder / "features", folder / "labels"

    def write(self, latents: np.ndarray, labels: np.ndarray) -> None:
        """latents: (M, C, H, W); labels: (M,)."""
        for part in (self.features, self.labels):
            part.mkdir(parents=True)
        for index, (latent, label) in enumerate(zip(latents, labels, strict=True)):
            np.save(self.features / f"{index}.npy", latent[None].astype(np.float32))
            np.save(self.labels / f"{index}.npy", np.array([label]))

    def batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """(B, C, H, W), (B,)."""
        latents, labels = zip(*map(self.image, rows), strict=True)
        return torch.stack(latents).squeeze(1), torch.stack(labels).squeeze(1)

    def image(self, row: int) -> tuple[Tensor, Tensor]:
        latent, label = np.load(self.features / f"{row}.npy"), np.load(self.labels / f"{row}.npy")
        return torch.from_numpy(latent), torch.from_numpy(label)

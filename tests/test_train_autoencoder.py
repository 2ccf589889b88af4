"""The embedded study's autoencoder: killed and started again, it is the same."""

import json
from pathlib import Path

import pytest
from PIL import Image

from slimdit.core.randomness import stream
from slimdit.storage.files import sha256_of, write_csv
from slimdit.training import loop
from train_autoencoder import train_autoencoder

TRAINING = {
    "channels": [8, 16],
    "steps": 7,
    "batch_size": 2,
    "crop_size": 8,
    "learning_rate": 1e-2,
    "kl_weight": 1e-3,
    "free_nats": 0.1,
    "ema_decay": 0.9,
    "log_every_steps": 2,
    "seed": 0,
}


@pytest.fixture
def job(tmp_path):
    images, rows = tmp_path / "images", []
    (images / "noise").mkdir(parents=True)
    for i in range(6):
        path = images / "noise" / f"{i}.png"
        pixels = stream(0, "pixels", i).integers(0, 256, (16, 16, 3), dtype="uint8")
        Image.fromarray(pixels).save(path)
        split = "train" if i < 4 else "held_out"
        row = {"path": f"noise/{i}.png", "class": "noise", "label": 0, "split": split}
        rows.append(row | {"reference": 0, "sha256": sha256_of(path)})
    write_csv(tmp_path / "subset.csv", list(rows[0]), rows)

    def arguments(run):
        folder = tmp_path / run
        return {
            "subset": str(tmp_path / "subset.csv"),
            "weights": str(folder / "diffusion_pytorch_model.safetensors"),
            "model_config": str(folder / "config.json"),
            "report": str(folder / "autoencoder.json"),
            "images_root": str(images),
            "image_size": 16,
            "latent_channels": 2,
            "training": TRAINING,
            "save_every_steps": 3,
            "state": str(folder / "state"),
            "recipe": {},
        }

    return arguments


@pytest.mark.parametrize("killed_at", [3, 5, 7])
def test_resumed_training_equals_the_unbroken_one_bit_for_bit(job, killed_at, monkeypatch):
    unbroken, broken = job("unbroken"), job("broken")
    train_autoencoder(**unbroken)
    update = loop.Progress.update

    def dying_update(self, count=1, **shown):
        update(self, count, **shown)
        if self.done == killed_at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop.Progress, "update", dying_update)
        train_autoencoder(**broken)
    assert not Path(broken["weights"]).exists()
    train_autoencoder(**broken)
    for name in ("weights", "model_config"):
        assert Path(broken[name]).read_bytes() == Path(unbroken[name]).read_bytes()
    reports = [json.loads(Path(run["report"]).read_text()) for run in (unbroken, broken)]
    assert reports[0]["held_out_psnr_db"] == reports[1]["held_out_psnr_db"]

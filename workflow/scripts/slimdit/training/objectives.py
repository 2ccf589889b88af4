"""Which objective a row is trained by."""

from slimdit.data.latents import LatentBatches
from slimdit.models.dit import DiT
from slimdit.training.objective import Hyperparameters, Lessons, Objective
from slimdit.training.trajectory import TrajectoryObjective


def objective_of(
    model: DiT,
    hyper: Hyperparameters,
    batches: LatentBatches,
    seed: int,
    teacher: DiT | None = None,
    distillation: dict | None = None,
    micro_batch_size: int | None = None,
) -> Objective | TrajectoryObjective:
    """Of noised latents, or of a student of few steps of its own sampling alone.

    distillation: as `Study.distillation` gives it; {} or None without a teacher.
    """
    options = distillation or {}
    if teacher and "substeps" in options:
        path, substeps = options["sampling"], options["substeps"]
        return TrajectoryObjective(
            model, hyper, batches.device, seed, teacher, path, substeps, micro_batch_size
        )
    lessons = Lessons(**{key: options[key] for key in Lessons._fields if key in options})
    return Objective(model, hyper, batches, seed, teacher, lessons, micro_batch_size)

"""Training: objectives, the loop that takes their gradients, and losses on other latents.

An objective is called with the number of a step and adds its gradients; it is made as
`Objective(model, hyper, batches, seed, teacher, distillation, micro_batch_size)`.
"""

from slimdit.core.registry import Registry
from slimdit.diffusion.loss_terms import objective_name

OBJECTIVES = Registry(
    "objective",
    __name__,
    {"noise": "objective.Objective", "steps": "trajectory.TrajectoryObjective"},
)


def objective_of(model, hyper, batches, seed, teacher, distillation, micro_batch_size=None):
    """That which the row is trained by; a teacher's is None and {} without one."""
    objective = OBJECTIVES[objective_name(distillation)]
    return objective(model, hyper, batches, seed, teacher, distillation, micro_batch_size)

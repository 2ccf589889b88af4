"""Every cache: `Cache(lambdas, is_guided, **own)`, a `step_cache.StepCache`. At some steps of a
sampling it puts what attention and MLP gave at earlier steps in the place of computing them.

lambdas: log(alpha / sigma) at each step; is_guided: whether it is guided; both (K,). Which steps
compute everything is known before the first one, and does not depend on the images.
"""

from slimdit.core.registry import Registry

CACHES = Registry(
    "cache",
    __name__,
    {
        "reuse": "reuse.Reuse",
        "extrapolate": "extrapolate.Extrapolate",
        "listed": "listed.Listed",
        "calibrated": "calibrated.Calibrated",
    },
    given=("lambdas", "is_guided"),
)

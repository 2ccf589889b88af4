"""How evenly a mixture of experts spreads its tokens."""

import numpy as np
from matplotlib.figure import Figure

from slimdit.reporting.figures.style import COLOURS, GREY, SMALL_PT, message, page
from slimdit.reporting.results import StudyResults

FINAL_FRACTION = 0.1  # of the logged steps, over which the final load is a mean


def draw_expert_load(study: StudyResults) -> Figure:
    """A row of panels per variant: final load by layer, and imbalance while training."""
    loads = {}
    for variant in study.table.index:
        runs = [run["expert_load"] for run in study.training if run["variant"] == variant]
        if runs and all(runs):
            load = np.array([run["load"] for run in runs], dtype=float)  # (R, S, L, E)
            loads[variant] = runs[0]["steps"], load
    if not loads:
        return message("No variant of this study has a mixture of experts.")
    figure = page(1.55 * len(loads) + 0.6)
    panels = figure.subplots(len(loads), 2, squeeze=False, width_ratios=[1.5, 1])
    for (variant, (steps, load)), (final, training) in zip(loads.items(), panels, strict=True):
        final.set_title(variant, loc="left", fontsize=8, fontweight="bold", pad=4)
        _draw_final(final, load)
        _draw_training(training, steps, load)
    panels[-1, 0].set_xlabel("Layer with experts, from the input")
    panels[-1, 1].set_xlabel("Training step")
    return figure


def _draw_final(axes, load: np.ndarray) -> None:
    """The mean load (R, S, L, E) at the end of training of R seeds, S steps, L layers, E experts:
    a dot for each expert, the busiest of a layer first."""
    num_seeds, num_steps, num_layers, num_experts = load.shape
    last = max(1, round(FINAL_FRACTION * num_steps))
    final = 100 * np.sort(load[:, -last:].mean(axis=1), axis=-1)[..., ::-1]  # (R, L, E)
    layers = np.arange(1, num_layers + 1)
    places = layers[:, None] + np.linspace(-0.3, 0.3, num_experts)  # (L, E)
    alpha = 0.9 if num_seeds == 1 else 0.5
    dots = {"markersize": 3.2, "color": COLOURS[0], "markeredgewidth": 0, "alpha": alpha}
    axes.plot(places.ravel(), final.reshape(num_seeds, -1).T, "o", **dots)
    axes.axhline(100 / num_experts, color=COLOURS[1], linewidth=1)
    uniform = f"line: uniform, {100 / num_experts:.3g}%"
    axes.set_title(uniform, loc="right", fontsize=SMALL_PT, color=COLOURS[1], pad=4)
    axes.set(xlim=(0.5, num_layers + 0.5), xticks=layers, ylim=(0, 1.1 * final.max()))
    axes.set_ylabel("Tokens per expert (%)")
    for layer in layers[:-1]:
        axes.axvline(layer + 0.5, color="#EEEEEE", linewidth=0.6, zorder=0)


def _draw_training(axes, steps: list[int], load: np.ndarray) -> None:
    """The load of each layer's busiest expert, 1 for a uniform load, of all seeds."""
    busiest = load.max(axis=-1) * load.shape[-1]  # (R, S, L)
    low, mean, high = (busiest.min((0, 2)), busiest.mean((0, 2)), busiest.max((0, 2)))
    band = {"color": COLOURS[0], "alpha": 0.2, "linewidth": 0}
    axes.fill_between(steps, low, high, label="all layers", **band)
    axes.plot(steps, mean, color=COLOURS[0], label="mean of layers")
    axes.axhline(1, color=COLOURS[1], linewidth=1)
    axes.set(xlim=(0, None), ylim=(0, 1.1 * busiest.max()))
    axes.set_ylabel("Busiest expert's load\n(1 = uniform)")
    axes.legend(loc="lower right", borderaxespad=0, handlelength=1.2, labelcolor=GREY)

"""How evenly a mixture of experts spreads its tokens."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from slimdit.reporting.figures.style import COLOURS, GREY, SMALL_PT, grid_of_panels

FINAL_FRACTION = 0.1  # of the logged steps, over which the final load is a mean


@dataclass(frozen=True)
class ExpertLoad:
    """A variant's load: steps (S,), load (R, S, L, E) of R seeds, L layers and E experts."""

    label: str
    steps: np.ndarray
    load: np.ndarray

    @property
    def final(self) -> np.ndarray:
        """Mean load at the end of training: (R, L, E)."""
        last = max(1, round(FINAL_FRACTION * len(self.steps)))
        return self.load[:, -last:].mean(axis=1)

    @property
    def busiest(self) -> np.ndarray:
        """Load of each layer's busiest expert, 1 for a uniform load: (S, R * L)."""
        busiest = self.load.max(axis=-1) * self.load.shape[-1]  # (R, S, L)
        return busiest.transpose(1, 0, 2).reshape(len(self.steps), -1)


def expert_load_figure(loads: list[ExpertLoad]) -> Figure:
    """A row of panels per variant: final load by layer, and imbalance while training."""
    height_inch = 1.55 * len(loads) + 0.6
    figure, panels = grid_of_panels(
        (len(loads), 2),
        height_inch,
        bottom_inch=0.42,
        top_inch=0.3,
        left=0.08,
        right=0.985,
        width_ratios=[1.5, 1],
        hspace=0.42,
        wspace=0.24,
    )
    for load, (final, training) in zip(loads, panels, strict=True):
        _draw_final(final, load)
        _draw_training(training, load)
    figure.align_ylabels(panels[:, 0])
    figure.align_ylabels(panels[:, 1])
    panels[-1, 0].set_xlabel("Layer with experts, from the input")
    panels[-1, 1].set_xlabel("Training step")
    return figure


def _draw_final(axes, load: ExpertLoad) -> None:
    num_experts = load.load.shape[-1]
    layers = np.arange(1, load.load.shape[-2] + 1)
    offsets = np.linspace(-0.3, 0.3, num_experts)
    places = (layers[:, None] + offsets).ravel()
    alpha = 0.9 if len(load.final) == 1 else 0.5
    dots = {"markersize": 3.2, "color": COLOURS[0], "markeredgewidth": 0, "alpha": alpha}
    for run in load.final:  # (L, E)
        axes.plot(places, 100 * np.sort(run, axis=1)[:, ::-1].ravel(), "o", **dots)
    axes.axhline(100 / num_experts, color=COLOURS[1], linewidth=1)
    uniform = f"line: uniform, {100 / num_experts:.3g}%"
    axes.set_title(uniform, loc="right", fontsize=SMALL_PT, color=COLOURS[1], pad=4)
    axes.set_xlim(0.5, len(layers) + 0.5)
    axes.set_xticks(layers)
    axes.set_ylim(0, 110 * load.final.max())
    axes.set_ylabel("Tokens per expert (%)")
    axes.set_title(load.label, loc="left", fontsize=8, fontweight="bold", pad=4)
    for layer in layers[:-1]:
        axes.axvline(layer + 0.5, color="#EEEEEE", linewidth=0.6, zorder=0)


def _draw_training(axes, load: ExpertLoad) -> None:
    busiest = load.busiest
    axes.fill_between(
        load.steps,
        busiest.min(axis=1),
        busiest.max(axis=1),
        color=COLOURS[0],
        alpha=0.2,
        linewidth=0,
        label="all layers",
    )
    axes.plot(load.steps, busiest.mean(axis=1), color=COLOURS[0], label="mean of layers")
    axes.axhline(1, color=COLOURS[1], linewidth=1)
    axes.set_ylim(0, 1.1 * busiest.max())
    axes.set_xlim(left=0)
    axes.set_ylabel("Busiest expert's load\n(1 = uniform)")
    axes.legend(loc="lower right", borderaxespad=0, handlelength=1.2, labelcolor=GREY)

"""The answer in words, as a table, and as JSON."""

import json
from collections.abc import Iterator

import numpy as np
import pandas as pd

from slimdit.core.text import duration
from slimdit.reporting.columns import NONE, number
from slimdit.reporting.columns import NOT_MEASURED as NO_VALUE
from slimdit.reporting.differences import ONE_TRAINING, OVER_SEEDS
from slimdit.reporting.markdown_table import markdown_table
from slimdit.reporting.recommendation.costs import ENDS, with_ends
from slimdit.reporting.recommendation.recommend import (
    CANNOT_TELL,
    INSIDE,
    THE_BASE,
    Recommendation,
)
from slimdit.reporting.recommendation.training import SECONDS_AN_HOUR

JSON_COLUMNS = (
    *("answer", "compared", "loss", "loss_low", "loss_high", *ENDS),
    *("samples_needed", "trainings_needed", "training_hours", "dominated_by", "config"),
)


def recommendation_markdown(answer: Recommendation) -> str:
    """What to use, what else is open, every row, and how it was found."""
    return (
        "\n\n".join(
            [
                f"# Which row to use: at most {100 * answer.max_loss:g} % worse than {answer.base}",
                advice(answer),
                *_about_row(answer),
                "\n".join(_both(answer)),
                *_open_questions(answer),
                "## All rows",
                _table(answer),
                "## How it was found",
                _method(answer),
            ]
        )
        + "\n"
    )


def recommendation_json(answer: Recommendation) -> str:
    """Losses are parts of the base's distance; costs are in the unit that `cost` names."""
    shown = answer.rows[list(ENDS)].map(answer.cost.shown)
    rows = answer.rows.assign(**shown).reindex(columns=list(JSON_COLUMNS)).astype(object)
    is_finite = rows.map(lambda value: isinstance(value, str) or _is_finite(value))
    content = {
        "advice": advice(answer).replace("**", ""),
        "row": answer.row,
        "without_training": answer.without_training,
        "with_training": answer.with_training,
        "base": answer.base,
        "max_loss": answer.max_loss,
        "metric": answer.metric,
        "by": answer.by,
        "batch_size": answer.batch_size,
        "cost": f"{answer.cost.heading}, {answer.cost.measured}",
        "num_tested": answer.num_tested,
        "rows": rows.where(is_finite, None).rename_axis("variant").reset_index().to_dict("records"),
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def advice(answer: Recommendation) -> str:
    """One sentence to act on, with what it rests on."""
    if answer.row == answer.base:
        return (
            f"Keep **{answer.base}**: of {answer.num_tested or 'no'} cheaper rows that were tested "
            f"none is shown to be at most {100 * answer.max_loss:g} % worse in {answer.metric}."
        )
    return f"Use **{answer.row}** in place of {answer.base}: {_gain(answer, answer.row)}"


def _gain(answer: Recommendation, name: str) -> str:
    row, of_base = answer.rows.loc[name], answer.rows.loc[answer.base]
    if row["compared"] == OVER_SEEDS:
        scope = f"This holds over trainings, of which there are {row['num_seeds']:.0f} pairs."
    else:
        scope = f"This holds for this checkpoint of {answer.base}, not for another training."
    hours = row["training_hours"]
    needs = "no training"
    if hours != 0:
        needs = f"{_hours(hours)} of training beyond {answer.base}'s, on the machine of the study"
    saved, *ends = _savings(answer, row)
    interval = f"95 % interval {' to '.join(ends)}; " if len(set(ends)) > 1 else ""
    shown = (number(answer.cost.shown(of["cost"])) for of in (row, of_base))
    most = f"at {'most' if row['loss_high'] > 0 else 'least'} {_change(row['loss_high'])}"
    return (
        f"it saves {saved} % of the {answer.cost.saved} ({interval}{answer.cost.heading}: "
        f"{' instead of '.join(shown)}), and with 95 % confidence its {answer.metric}, the "
        f"distance of its images from real ones, is {most} (measured: {_change(row['loss'])}). "
        f"{scope} It needs {needs}."
    )


def _about_row(answer: Recommendation) -> Iterator[str]:
    """What the recommended row is, and which others may be as cheap as it."""
    rows, name = answer.rows, answer.row
    if name == answer.base:
        return
    own, of_base = (rows["config"][each] for each in (name, answer.base))
    if own:
        yield f"In the config, {name} is `{own}` and {answer.base} `{of_base}`."
    is_as_cheap = (rows["answer"] == INSIDE) & (rows["cost_low"] <= rows["cost_high"][name])
    if others := ", ".join(rows.index[is_as_cheap].drop(name)):
        yield f"Inside the window too, and not shown to cost more than {name}: {others}."


def _both(answer: Recommendation) -> Iterator[str]:
    """What is free beside what has to be trained for."""
    each = {"Without training": answer.without_training, "With training": answer.with_training}
    is_free = answer.rows["training_hours"] == 0
    rows = answer.rows[answer.rows["answer"] == CANNOT_TELL]
    for (heading, name), chosen in zip(each.items(), (is_free, ~is_free), strict=True):
        if name:
            gain = "as above." if name == answer.row else _gain(answer, name)
            yield f"- {heading}: **{name}**, {gain}"
        else:
            names = ", ".join(rows.index[chosen[rows.index]])
            yield f"- {heading}: none" + (f"; it cannot be told of {names}." if names else ".")


def _open_questions(answer: Recommendation) -> Iterator[str]:
    """What more samples and what another seed would tell."""
    rows = answer.rows[answer.rows["answer"] == CANNOT_TELL]
    samples = rows["samples_needed"].dropna()
    if len(samples):
        name = samples.idxmin()
        yield (
            f"More samples: {_about(samples[name])} a run, of {rows['num_samples'][name]:.0f} now, "
            f"would tell of {name}, were its loss as it was measured (`sampling.num_samples`)."
        )
    trainings = rows["trainings_needed"].dropna()
    if len(trainings):
        told = trainings.index[trainings <= 1]
        name = trainings.idxmin()
        first = (
            f"would probably tell of {', '.join(told)}"
            if len(told)
            else f"would probably tell of none; {name} needs {_about(trainings[name])} more"
        )
        yield (
            f"Another seed of every row {first}. List it in `seeds`: only the new trainings run."
        )


def numbers_of(answer: Recommendation, name: str) -> dict[str, str]:
    """What is said of a row, by headings."""
    row = answer.rows.loc[name]
    is_known = np.isfinite(row["cost"])
    return {
        "Answer": _answer(row),
        f"{answer.metric} against {answer.base} (%)": _loss(row),
        answer.cost.heading: with_ends(answer.cost, row) if is_known else NO_VALUE,
        "Saves (%)": _saving(answer, row) if is_known and name != answer.base else NONE,
        "Training (h)": _training(row["training_hours"]),
        "Dominated by": row["dominated_by"] or NONE,
        "In the config": row["config"] or NONE,
    }


def _table(answer: Recommendation) -> str:
    each = {name: numbers_of(answer, name) for name in answer.rows.index}
    headings = ["Row", *each[answer.base]]
    return markdown_table(headings, [[name, *numbers.values()] for name, numbers in each.items()])


def _answer(row: pd.Series) -> str:
    for what in ("samples", "trainings"):
        if not np.isnan(needed := row[f"{what}_needed"]):
            more = " more" if what == "trainings" and np.isfinite(needed) else ""
            return f"{row['answer']}: needs {_about(needed)}{more} {what}"
    return row["answer"]


def _loss(row: pd.Series) -> str:
    if row["answer"] == THE_BASE or not np.isfinite(row["loss"]):
        return NONE if row["answer"] == THE_BASE else NO_VALUE
    text = _percent(row["loss"], "+")
    if row["compared"] == ONE_TRAINING:
        return f"{text} (1 seed)"
    if np.isfinite(row["loss_low"]):
        text += f" [{_percent(row['loss_low'], '+')}, {_percent(row['loss_high'], '+')}]"
    return text


def _saving(answer: Recommendation, row: pd.Series) -> str:
    middle, low, high = _savings(answer, row)
    return middle if low == high else f"{middle} [{low}, {high}]"


def _savings(answer: Recommendation, row: pd.Series) -> list[str]:
    """In percent of the base's cost, with the ends of its interval."""
    of_base = answer.rows["cost"][answer.base]
    return [f"{100 * (1 - row[name] / of_base):.1f}" for name in ("cost", "cost_high", "cost_low")]


def _method(answer: Recommendation) -> str:
    base, metric = answer.base, answer.metric
    return (
        f"Cost: {answer.cost.heading}, {answer.cost.measured}. The loss is the row's {metric} over "
        f"{base}'s, less one. Tested are the {answer.num_tested} rows that cost less than {base}, "
        "beyond the noise of their 95 % interval where costs are times. That interval is the row's "
        "own: of rows that cost the same, the one that happens to look cheapest is chosen, and "
        "saves less than it seems. The intervals of losses "
        "hold for all of these together: with 95 % confidence no row loses more than its upper end "
        "(Bonferroni), so that the cheapest of those inside the window may be chosen. "
        f"A row that is made from {base}'s weights is compared for this checkpoint, in pairs of "
        "samples of the same noise and label; a row that is trained on its own over trainings, in "
        "pairs of the same seed, and with one seed not at all. What a row needs is estimated from "
        "how the interval shrinks, were the loss as it was measured: half of such rows are then "
        "told. With one training each it takes trainings to spread five times as far as "
        f"samples do. A dominated row costs no less than another and has a larger {metric}, beyond "
        "the noise of this pair of rows (95 %). Training is what a row needs beyond the base's, "
        "once, its teacher's and its guide's included."
    )


def _percent(part: float, sign: str = "") -> str:
    return f"{100 * part:{sign}.1f}"


def _change(part: float) -> str:
    return f"{_percent(abs(part))} % {'worse' if part > 0 else 'better'}"


def _about(count: float) -> str:
    """A number to two digits, rounded up."""
    if not np.isfinite(count):
        return "far more"
    step = 10 ** max(0, int(np.log10(max(count, 1))) - 1)
    return f"about {int(np.ceil(count / step) * step)}"


def _training(hours: float) -> str:
    if np.isnan(hours):
        return NO_VALUE
    return "0" if hours == 0 else number(hours)


def _hours(hours: float) -> str:
    return "an unknown time" if np.isnan(hours) else duration(hours * SECONDS_AN_HOUR)


def _is_finite(value) -> bool:
    return value is not None and bool(np.isfinite(value))

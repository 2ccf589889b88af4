"""Where a study differs from the paper's table and by how much, for people to read."""

import statistics
from collections.abc import Iterator

from slimdit.reporting.csv_tables import NOT_MEASURED, NOT_REPORTED
from slimdit.reporting.markdown_table import and_joined, speed_conditions, table_line
from slimdit.reporting.paper_comparison import (
    COUNTS,
    DISTANCES,
    FID,
    LOSSES,
    MACHINES,
    PAPER_IMAGES,
    QUANTITIES,
    Agreement,
    Pair,
    Quantity,
    order,
    pairs,
    same_numbers_of_images,
)
from slimdit.reporting.results import Row, Study


def paper_markdown(study: Study, paper: dict[str, dict[str, str]]) -> str:
    """What agrees and what does not, a table of it by column, and every cell that either has.

    paper: the paper's own numbers as `paper_values` reads them.
    """
    found = pairs(study, paper)
    if not found:
        return "Nothing that the paper printed was measured here.\n"
    by_quantity = {
        quantity: [p for p in found if p.quantity == quantity] for quantity in QUANTITIES
    }
    by_quantity = {quantity: of for quantity, of in by_quantity.items() if of}
    sentences = "\n".join(f"- {sentence}" for sentence in _sentences(study, paper, by_quantity))
    return "\n\n".join((sentences, _summary(by_quantity), _cells(study, paper, by_quantity))) + "\n"


def _sentences(
    study: Study, paper: dict[str, dict[str, str]], by_quantity: dict[Quantity, list[Pair]]
) -> Iterator[str]:
    shared = [row for row in study.rows if row.variant in paper]
    text = f"Rows in both tables: {len(shared)}."
    if own := [row.label for row in study.rows if row.variant not in paper]:
        text += f" Not in the paper's: {and_joined(own)}."
    if theirs := paper.keys() - study.results.keys():
        text += f" Not in this study: {and_joined(sorted(theirs))}."
    yield text

    agreeing = [
        quantity.heading
        for quantity, of in by_quantity.items()
        if of[0].comparable and not _beyond(of)
    ]
    if agreeing:
        yield f"Within the rounding of the printed digits in every row: {and_joined(agreeing)}."
    for quantity in COUNTS:
        if beyond := _beyond(by_quantity.get(quantity, [])):
            yield f"{quantity.heading}, beyond rounding: {'; '.join(map(_named, beyond))}."
    yield from _order(by_quantity.get(FID, []))
    yield from _distances(study, by_quantity)
    if any(quantity in LOSSES for quantity in by_quantity):
        yield "Final loss is MSE + VB, without the terms of distillation and expert balance."
    if any(quantity in MACHINES for quantity in by_quantity):
        yield (
            "Peak memory and iterations/s are of the machine: the paper does not name its GPU, so "
            f"differences are shown but not comparable. {' '.join(speed_conditions(study))}"
        )
    yield from _missing(study, paper, shared)


def _order(of_fid: list[Pair]) -> Iterator[str]:
    found = order(of_fid)
    if found is None:
        return
    text = f"Spearman's rank correlation over {found.num_rows} rows is {found.spearman:.2f}"
    if found.mover is None:
        yield f"The order of the rows by FID is the paper's. {text}."
    else:
        yield (
            f"The order of the rows by FID is not the paper's. {text}; {found.mover.label} moves "
            f"most, from the paper's rank {found.paper_rank:g} to {found.rank:g}."
        )


def _distances(study: Study, by_quantity: dict[Quantity, list[Pair]]) -> Iterator[str]:
    if not study.quality:
        return
    extractor, first = study.extractor, study.quality[0]
    if extractor.fd_column != FID.value:
        yield (
            f"FID and sFID are not compared: this study measures {extractor.fd_label}, a distance "
            "of other features."
        )
    elif any(quantity in by_quantity for quantity in DISTANCES):
        text = (
            f"FID and sFID are of {first['num_samples']} samples and {first['num_reference']} "
            f"reference images, the paper's of {PAPER_IMAGES} and {PAPER_IMAGES}."
        )
        if not same_numbers_of_images(study):
            text += " They depend on these numbers: differences are shown but not comparable."
        yield text


def _missing(study: Study, paper: dict[str, dict[str, str]], shared: list[Row]) -> Iterator[str]:
    """What the paper printed and this study did not measure."""
    other_features = study.quality and study.extractor.fd_column != FID.value
    missing = []
    for quantity in QUANTITIES:
        if quantity in DISTANCES and other_features:
            continue
        printed = [row for row in shared if quantity.column in paper[row.variant]]
        without = [
            row.label
            for row in printed
            if study.results[row.variant].values.get(quantity.value) is None
        ]
        if without:
            rows = "" if len(without) == len(printed) else f" ({and_joined(without)})"
            missing.append(f"{quantity.heading}{rows}")
    if missing:
        yield f"Printed by the paper, but not measured here: {and_joined(missing)}."


def _summary(by_quantity: dict[Quantity, list[Pair]]) -> str:
    lines = [
        table_line(["", "Rows", "Within rounding", "Median difference", "Largest difference"]),
        table_line(["---", "---:", "---:", "---:", "---"]),
    ]
    for quantity, of in by_quantity.items():
        beyond = _beyond(of)
        percents = [p.difference_percent for p in of if p.difference_percent is not None]
        lines.append(
            table_line(
                [
                    quantity.heading,
                    str(len(of)),
                    str(len(of) - len(beyond)),
                    f"{statistics.median(percents):+.1f}%" if percents else "undefined",
                    _named(max(beyond, key=_size)) if beyond else "none beyond rounding",
                ]
            )
        )
    return "\n".join(lines)


def _cells(
    study: Study, paper: dict[str, dict[str, str]], by_quantity: dict[Quantity, list[Pair]]
) -> str:
    lines = [
        "Ours / the paper's, with the difference where it is beyond rounding:\n",
        table_line(["Model", *(quantity.heading for quantity in by_quantity)]),
        table_line(["---", *("---:" for _ in by_quantity)]),
    ]
    of_cell = {(p.row.variant, p.quantity): p for of in by_quantity.values() for p in of}
    for row in study.rows:
        if row.variant not in paper:
            continue
        cells = [row.label]
        for quantity in by_quantity:
            pair = of_cell.get((row.variant, quantity))
            printed = paper[row.variant].get(quantity.column)
            if pair:
                cells.append(_cell(pair))
            else:
                cells.append(NOT_REPORTED if printed is None else f"{NOT_MEASURED} / {printed}")
        lines.append(table_line(cells))
    return "\n".join(lines)


def _cell(pair: Pair) -> str:
    text = f"{_ours(pair)} / {pair.printed}"
    return text if pair.agreement == Agreement.ROUNDED else f"{text} ({_percent(pair)})"


def _named(pair: Pair) -> str:
    text = f"{pair.row.label} {_ours(pair)}, the paper {pair.printed} "
    text += f"({pair.difference:+.{pair.decimals + 1}f}, {_percent(pair)}"
    return text + (", cut off)" if pair.agreement == Agreement.CUT_OFF else ")")


def _ours(pair: Pair) -> str:
    return f"{pair.ours:.{pair.decimals + 1}f}"


def _percent(pair: Pair) -> str:
    return "undefined" if pair.difference_percent is None else f"{pair.difference_percent:+.1f}%"


def _beyond(pairs: list[Pair]) -> list[Pair]:
    return [pair for pair in pairs if pair.agreement != Agreement.ROUNDED]


def _size(pair: Pair) -> float:
    percent = pair.difference_percent
    return abs(pair.difference if percent is None else percent)

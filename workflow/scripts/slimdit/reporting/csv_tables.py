"""Columns and records of the tables, as text: no cell is empty."""

from slimdit.reporting.paper_comparison import pairs
from slimdit.reporting.results import (
    COSTS,
    DIFFERENCE,
    DIFFERENCE_PARTS,
    METRICS,
    MODES,
    OVER_BASE,
    OVER_BASE_PARTS,
    OVER_SETS,
    TERMS,
    TIMES,
    UTILIZATION,
    Row,
    Study,
    mean_and_std,
    read_by_variant,
)
from slimdit.study.paper_values import PAPER_COLUMNS

NOT_MEASURED = "not measured"
NOT_REPORTED = "not reported"
NONE = "none"
UNDEFINED = "undefined"


def table1(study: Study, paper: dict[str, dict[str, str]]) -> tuple[list[str], list[dict]]:
    """Columns and records of table1.csv: one record per variant, no cell empty.

    `<column>_std_over_seeds` exist when some variant has several seeds, `<column>_std_over_sets`
    when some was sampled in several sets. Peak memory is that of the
    eager mode.
    """
    distances = (study.extractor.fd_column, study.extractor.sfd_column)
    metrics = {
        column: metric
        for column, metric in study.extractor.quality_columns.items()
        if not metric.endswith(OVER_SETS) or _is_known(study, column)
    }
    changing = {
        "total_params",
        "active_params",
        "peak_memory_bytes",
        *distances,
        "macs",
        "weight_bytes",
    }
    measured = [
        "total_params",
        "active_params",
        "peak_memory_bytes",
        "peak_memory_kind",
        *metrics,
        *(f"{DIFFERENCE}{part}" for part in DIFFERENCE_PARTS),
        "macs",
        "weight_bytes",
        "speed_batch_size",
        *(f"{time}_{mode}" for mode in MODES for time in TIMES),
        *(f"{OVER_BASE}_{mode}{part}" for mode in MODES for part in OVER_BASE_PARTS),
        *(f"{column}_{mode}" for mode in MODES for column in UTILIZATION),
        *(f"energy_j_per_image_{mode}" for mode in MODES),
        "sampler_images_per_s",
    ]

    records = []
    for variant, result in study.results.items():
        row = result.row
        record = {
            "group": row.group,
            "variant": variant,
            "parent": row.parent or NONE,
            "num_seeds": result.num_seeds,
        }
        values = {**result.values, "speed_batch_size": study.speed_batch_size}
        for column in measured:
            record[column] = NONE if needs_parent(row, column) else _cell(values[column])
            if study.several_seeds and metrics.get(column) in METRICS:
                record[f"{column}_std_over_seeds"] = _cell(result.stds.get(column))
            if column in changing:
                record[f"{column}_change_percent"] = _change_cell(study, variant, column)
        if paper:
            record.update(_paper_cells(paper.get(variant, {}), PAPER_COLUMNS[:-1]))
        records.append(record)
    return list(records[0]), records


def table2(study: Study, paper: dict[str, dict[str, str]]) -> tuple[list[str], list[dict]]:
    """Columns and records of table2.csv: final training losses, one record per trained variant.

    Each loss is the mean over the last `window_steps` steps; "none" marks a term that the
    variant's loss does not have.
    """
    columns = ["group", "variant", "num_seeds", "steps", "window_steps"]
    several = len({run["seed"] for run in study.training}) > 1
    for term in TERMS:
        columns += [term, f"{term}_std_over_seeds"] if several else [term]
    columns += ["paper_final_loss"] if paper else []

    records = []
    for variant, result in study.results.items():
        runs = [run for run in study.training if run["variant"] == variant]
        if not runs:
            continue
        record = {
            "group": result.row.group,
            "variant": variant,
            "num_seeds": len(runs),
            "steps": runs[0]["steps"],
            "window_steps": runs[0]["final_window_steps"],
        }
        for term in TERMS:
            values = [run.get(f"final_{term}") for run in runs]
            exists = any(value is not None for value in values)
            mean, std = mean_and_std(values)
            record[term] = _cell(mean) if exists else NONE
            if several:
                record[f"{term}_std_over_seeds"] = _cell(std) if exists else NONE
        if paper:
            record.update(_paper_cells(paper.get(variant, {}), ("final_loss",)))
        records.append(record)
    return columns, records


def architecture_records(rows: list[Row], architecture: list[str]) -> tuple[list[str], list[dict]]:
    """Columns and records of architecture.csv, in the order of `rows`."""
    columns = ["variant", *COSTS]
    contents = read_by_variant(architecture, rows)
    records = [
        {column: _cell(content.get(column)) for column in columns}
        for row in rows
        for content in contents[row.variant]
    ]
    return columns, records


def paper_records(study: Study, paper: dict[str, dict[str, str]]) -> tuple[list[str], list[dict]]:
    """Columns and records of paper.csv: one record per cell that the study and the paper have.

    `column` is the paper's and says the unit; `difference` is ours less the paper's.
    """
    columns = ["variant", "column", "ours", "paper", "difference", "difference_percent"]
    columns += ["agreement", "comparable"]
    records = []
    for pair in pairs(study, paper):
        percent = pair.difference_percent
        cells = (
            pair.row.variant,
            pair.quantity.column,
            _cell(pair.ours),
            pair.printed,
            f"{pair.difference:.6g}",
            UNDEFINED if percent is None else f"{percent:.2f}",
            pair.agreement,
            "yes" if pair.comparable else "no",
        )
        records.append(dict(zip(columns, cells, strict=True)))
    return columns, records


def _cell(value: float | str | None) -> str:
    if value is None:
        return NOT_MEASURED
    if isinstance(value, str):
        return value
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"


def _is_known(study: Study, column: str) -> bool:
    return any(result.values.get(column) is not None for result in study.results.values())


def needs_parent(row: Row, column: str) -> bool:
    """Whether the row cannot have the column, having no parent."""
    return column.startswith((DIFFERENCE, OVER_BASE)) and row.parent is None


def _change_cell(study: Study, variant: str, column: str) -> str:
    parent = study.results[variant].row.parent
    if parent is None:
        return NONE
    if study.results[parent].values.get(column) == 0:
        return UNDEFINED
    change = study.change_percent(variant, column)
    return NOT_MEASURED if change is None else f"{change:.2f}"


def _paper_cells(values: dict[str, str], columns: tuple[str, ...]) -> dict[str, str]:
    return {f"paper_{column}": values.get(column, NOT_REPORTED) for column in columns}

"""What the metrics are called: in quality.json, in the tables' columns, and in print."""

from dataclasses import dataclass, fields

OVER_SETS = "_std_over_sets"
DISTANCE_PARTS = ("", "_float32_mean", "_corrected", "_standard_error", OVER_SETS)
# Metrics of quality.json, each with what else is known of it.
METRICS = {
    "held_out_loss": ("", "_standard_error"),
    "fd": DISTANCE_PARTS,
    "sfd": DISTANCE_PARTS,
    "kid": ("", "_std"),
    "precision": ("",),
    "recall": ("",),
    "density": ("",),
    "coverage": ("",),
    "classifier_score": ("", "_std", "_corrected"),
    "class_accuracy": ("",),
    "reconstructed_fd": DISTANCE_PARTS,
    "reconstructed_precision": ("",),
    "reconstructed_recall": ("",),
    "reconstructed_density": ("",),
    "reconstructed_coverage": ("",),
    "nearest_train_distance_ratio": ("",),
    "fraction_closer_than_held_out": ("",),
}


@dataclass(frozen=True)
class MetricNames:
    """Columns and printed names of the metrics that are called by their feature extractor."""

    fd_column: str = "fd"
    sfd_column: str = "sfd"
    fd_label: str = "FD"
    sfd_label: str = "sFD"
    score_column: str = "classifier_score"
    score_label: str = "Classifier score"

    @classmethod
    def of_network(cls, column: str, label: str) -> "MetricNames":
        """Those of a feature extractor, by how it is called in columns and in print."""
        return cls(
            fd_column=f"fd_{column}",
            sfd_column=f"sfd_{column}",
            fd_label=f"FD ({label})",
            sfd_label=f"sFD ({label})",
            score_column=f"classifier_score_{column}",
            score_label=f"Classifier score ({label})",
        )

    @classmethod
    def of(cls, extractor: dict) -> "MetricNames":
        """Those that an extractor's description gives, as it stands in quality.json."""
        return cls(**{each.name: extractor[each.name] for each in fields(cls)})

    @property
    def is_fid(self) -> bool:
        """Whether the Fréchet distance may be called FID: it is of the Inception graph of 2015."""
        return self.fd_column == "fid"

    def column(self, metric: str) -> str:
        """The column of a metric of quality.json."""
        own = {
            "fd": self.fd_column,
            "sfd": self.sfd_column,
            "reconstructed_fd": f"reconstructed_{self.fd_column}",
            "classifier_score": self.score_column,
        }
        return own.get(metric, metric)

    @property
    def quality_columns(self) -> dict[str, str]:
        """Columns of the tables to the names of their metrics in quality.json."""
        return {
            f"{self.column(metric)}{part}": f"{metric}{part}"
            for metric, parts in METRICS.items()
            for part in parts
        }

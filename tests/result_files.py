"""The JSON files of a small study, and the tables that are made from them."""

import csv

from slimdit.evaluation.metric_names import METRICS
from slimdit.storage.files import write_json
from tables import tables

ORIGIN = {
    "device": "cpu",
    "processor": "Some CPU",
    "threads": 2,
    "versions": {"torch": "2.0"},
    "commit": "abc",
}
EFFICIENTNET = {
    "name": "efficientnet-lite0",
    "weights_sha256": "0123456789abcdef",
    "fd_column": "fd_efficientnet_lite0",
    "sfd_column": "sfd_efficientnet_lite0",
    "fd_label": "FD (EfficientNet-Lite0)",
    "sfd_label": "sFD (EfficientNet-Lite0)",
    "score_column": "classifier_score_efficientnet_lite0",
    "score_label": "Classifier score (EfficientNet-Lite0)",
}
INCEPTION = {
    "name": "inception2015",
    "fd_column": "fid",
    "sfd_column": "sfid",
    "fd_label": "FID",
    "sfd_label": "sFID",
    "score_column": "inception_score",
    "score_label": "IS",
}
COMPARED = ("held_out_loss", "fd", "sfd", "reconstructed_fd", "kid", "class_accuracy")
ROWS = [
    {
        "variant": "S2-base",
        "group": "Base",
        "parent": None,
        "derived_from": None,
        "trained_from": None,
        "weights": "S2-base",
        "family": None,
    },
    {
        "variant": "Q-S2",
        "group": "Quantization",
        "parent": "S2-base",
        "derived_from": "S2-base",
        "trained_from": None,
        "weights": "Q-S2",
        "family": None,
    },
]


class Files:
    """The JSON files of a small study, written where the test asks."""

    def __init__(self, folder):
        self.folder = folder
        self.paths = {"architecture": [], "speed": [], "quality": [], "training": []}
        self.paths |= {"reference_quality": []}

    def add(self, kind, name, content):
        path = self.folder / f"{kind}-{name}.json"
        write_json(path, {**content, "origin": ORIGIN})
        self.paths[kind].append(str(path))

    def add_costs(
        self, variant, total_params=1000, active_params=None, latency_ms=10.0, base=None, **speed
    ):
        """base: the row that this one was timed against; speed: of the eager measurement."""
        cost = {"total_params": total_params, "active_params": active_params or total_params}
        cost |= {"macs": 2_000_000, "weight_bytes": 4 * total_params}
        cost |= {"passes_per_image": 40, "macs_per_image": 80_000_000}
        cost |= {"cached_passes_per_image": 0, "cache_bytes_per_image": 0}
        cost |= {"spec": {"structure": {"num_classes": 10}}}
        self.add("architecture", variant, {"variant": variant, **cost})
        measurement = {
            "mode": "eager",
            "batch_size": 8,
            "dtype": "float32",
            "warmup_iterations": 10,
            "timed_iterations": 54,
            "processes": 3,
            "latency_ms": latency_ms,
            "peak_memory_bytes": 5_000_000,
            "peak_memory_kind": "cpu_weights_and_allocated",
        } | speed
        compiled = [{"mode": "compiled", "batch_size": 8, "reason": "no compiler"}]
        content = {"variant": variant, "base": base, "not_measured": compiled}
        content["measurements"] = [measurement]
        self.add("speed", variant, content)

    def add_quality(
        self,
        variant,
        fd,
        seed=0,
        extractor=EFFICIENTNET,
        num_samples=650,
        left_out=(0.0, 0.0),
        class_accuracy=0.9,
        guidance_scale=2.0,
    ):
        """left_out: of each metric that is compared, without each group of samples."""
        metrics = {
            f"{metric}{suffix}": 0.5 for metric, suffixes in METRICS.items() for suffix in suffixes
        }
        metrics |= {"fd": fd, "sfd": fd / 2, "kid": 0.01, "precision": 0.7}
        metrics["class_accuracy"] = class_accuracy
        content = {
            "variant": variant,
            "seed": seed,
            "num_samples": num_samples,
            "num_reference": 650,
            "extractor": extractor,
            "metrics": metrics,
            "jackknife": {
                name: {"whole": metrics[name], "left_out": list(left_out), "drawn_from": [0]}
                for name in COMPARED
            },
            "probe": {
                "held_out_accuracy": 0.99,
                "reconstructed_held_out_accuracy": 0.88,
                "num_held_out": 100,
            },
            "sampling": {
                "sampler": "ddim",
                "steps": 20,
                "guidance_scale": guidance_scale,
                "prompts": ["a"],
            },
        }
        self.add("quality", f"{variant}-{seed}", content)

    def add_reference_quality(self, **fds):
        """fds: by row. What samples alone have, such as a held-out loss, its file has not."""
        metrics = {name: 0.5 for name in METRICS if name != "held_out_loss"}
        rows = [
            {"variant": name, "num_samples": 390, "metrics": metrics | {"fd": fd}}
            for name, fd in fds.items()
        ]
        self.add("reference_quality", "rows", {"rows": rows})

    def add_training(self, variant, loss, seed=0, **terms):
        final = {"final_mse": loss, "final_vb": 0.01, "final_distillation": None}
        final |= {"final_loss": loss, "final_balance": None, "final_window_steps": 10} | terms
        content = {"variant": variant, "seed": seed, "steps": 100, "batch_size": 32, **final}
        self.add("training", f"{variant}-{seed}", content)

    def written(self, *names, rows=ROWS, paper=None):
        """The texts of the tables of these names, as the rule's script writes them."""
        outputs = {name.replace(".", "_"): self.folder / name for name in names}
        tables(
            **self.paths,
            autoencoder=[],
            record_only=[__file__],
            rows=rows,
            paper=paper or {},
            speed_batch_size=8,
            config={},
            recipe={},
            study_json=self.folder / "study.json",
            **outputs,
        )
        return [path.read_text() for path in outputs.values()]

    def tables(self, rows=ROWS, paper=None):
        """Make the tables: records of table 1 by variant, of table 2 by variant, and the text."""
        names = ("table1.csv", "table1.md", "table2.csv")
        table1, text, table2 = self.written(*names, rows=rows, paper=paper)
        by_variant = (
            {record["variant"]: record for record in csv.DictReader(table.splitlines())}
            for table in (table1, table2)
        )
        return *by_variant, text

# What rules read from the config: canonical strings, so that equal settings are equal params.

import functools
import os
import re
import sys
from pathlib import Path

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
sys.path.insert(0, str(SCRIPTS))

from snakemake.exceptions import WorkflowError

from slimdit.core.code_digest import definition_digests
from slimdit.study.config_check import config_problems, listed
from slimdit.core.errors import InputError
from slimdit.evaluation.features.published_graph import GRAPH_MD5, check_graph
from slimdit.storage.files import canonical_json as canonical
from slimdit.storage.files import read_json
from slimdit.study.paper_values import paper_values
from slimdit.study.component_options import default_of
from slimdit.jobs.job_log import error_summary
from slimdit.jobs.preflight import check_gpus, check_image_folder
from slimdit.study.study import Study, identity

if problems := config_problems(config):
    sys.exit(listed(problems))
STUDY = Study(config)
if workflow.is_main_process:
    try:
        check_gpus(workflow.global_resources, workflow.resource_settings.overwrite_resources)
        check_image_folder(config["data"])
    except InputError as error:
        sys.exit(str(error))

DATA = config["data"]
AUTOENCODER = config["autoencoder"]
EVALUATION = canonical(STUDY.evaluation)
EXTRACTOR = {STUDY.evaluation["extractor"]["name"]}
BACKEND = STUDY.evaluation["extractor"].get(
    "backend", default_of("extractor", STUDY.evaluation["extractor"]["name"], "backend")
)
EXTRACTOR_ENV = f"../../envs/{'inception' if BACKEND == 'tensorflow' else 'slimdit'}.yaml"
CUT = f"results/{STUDY.name}/data/photos.json"
GRAPH = STUDY.evaluation["extractor"].get("graph")
PAPER = paper_values(config["paper_values"]) if config["paper_values"] else {}


def one_of(names):
    """Regular expression of a wildcard that is one of these names; of none when there are none."""
    return "|".join(re.escape(str(name)) for name in names) or "(?!)"


wildcard_constraints:
    study=one_of([STUDY.name]),
    variant=one_of(STUDY.variants),
    seed=one_of(STUDY.seeds),


def wildcard_seed(wildcards):
    return int(wildcards.seed)


def all_cores():
    """Threads of a job that should have the machine to itself; SLURM profiles set their own."""
    try:
        return workflow.cores
    except WorkflowError:  # not every command of Snakemake's is given --cores
        return os.cpu_count()


def structure(wildcards):
    return canonical(STUDY.structure(wildcards.variant))


def operations(wildcards):
    return canonical(STUDY.operations(wildcards.variant))


def code_of(script, **kinds):
    """Digest of what a step's code does; kinds: those in use of each registry."""
    return canonical(definition_digests(script, script, kinds, SCRIPTS))


def model_code(script, variant, **kinds):
    """Digest of a step that builds the model of `variant`."""
    return code_of(script, **STUDY.parts(variant), **kinds)


def run_files(name, variants):
    return expand(
        "results/{study}/variants/{variant}/seed-{seed}/{name}",
        study=STUDY.name,
        variant=variants,
        seed=STUDY.seeds,
        name=name,
    )


def variant_files(name):
    return expand(
        "results/{study}/variants/{variant}/{name}",
        study=STUDY.name,
        variant=STUDY.variants,
        name=name,
    )


# Edges: what a rule is made from.


def cut_images(wildcards):
    """The image folder, where the study makes it itself; a user's folder is only read.

    What it holds is in a file beside, by digest: the time stamp of a folder says nothing.
    """
    return {"images": ancient(DATA["images"]), "cut": CUT} if DATA["photos"] else {}


def trained_autoencoder(wildcards):
    """The autoencoder's files, where they are the study's or lie in a folder."""
    if not AUTOENCODER["train"] and not Path(AUTOENCODER["source"]).is_dir():
        return {}
    return {
        "weights": f"{AUTOENCODER['source']}/diffusion_pytorch_model.safetensors",
        "model_config": f"{AUTOENCODER['source']}/config.json",
    }


def autoencoder_report():
    return [f"{AUTOENCODER['source']}/autoencoder.json"] if AUTOENCODER["train"] else []


def extractor_graph(wildcards):
    """The frozen graph, where the extractor is one; the user's own is checked before any job."""
    if not GRAPH:
        return {}
    if not config["inception_graph_url"]:
        check_own_graph()
    return {"graph": GRAPH}


@functools.cache
def check_own_graph():
    try:
        check_graph(GRAPH, STUDY.evaluation["extractor"].get("md5", GRAPH_MD5))
    except InputError as error:
        raise WorkflowError(f"config: extractors: {error}") from None


def shards(wildcards):
    """The parts that a run's samples are put together from: none where one job makes them all.

    Samples that are there keep the number they were made in: another one is no reason to rerun.
    """
    variant, seed = wildcards.variant, wildcards.seed
    made = Path(f"results/{STUDY.name}/variants/{variant}/seed-{seed}/samples.json")
    count = len(gather.samples("{scatteritem}"))
    if made.exists():
        try:
            count = read_json(made).get("num_shards", 1)
        except InputError as error:
            raise WorkflowError(str(error)) from None
    sampling = STUDY.sampling(variant)
    num_images = sampling["num_samples"] * sampling["num_sets"]
    count = min(count, -(-num_images // sampling["batch_size"]))
    if count == 1:
        return {}
    folder = f"results/{STUDY.name}/state/sample/{variant}-seed-{seed}"
    parts = [f"{folder}/{position}-of-{count}" for position in range(1, count + 1)]
    return {
        "shards": [f"{part}.npy" for part in parts],
        "shard_reports": [f"{part}.json" for part in parts],
    }


def checkpoint_of(variant, wildcards):
    folder = f"results/{wildcards.study}/variants/{variant}/seed-{wildcards.seed}"
    return f"{folder}/checkpoint.safetensors"


def teacher_checkpoint(wildcards):
    teacher = STUDY.teacher(wildcards.variant)
    if teacher is None:
        return {}
    return {"teacher": checkpoint_of(teacher, wildcards)}


def parent_checkpoint(wildcards):
    return checkpoint_of(STUDY.block(wildcards.variant)["from"], wildcards)


def parent(wildcards):
    return STUDY.parent(wildcards.variant)


def parent_features(wildcards):
    folder = f"results/{wildcards.study}/variants/{parent(wildcards)}/seed-{wildcards.seed}"
    return f"{folder}/features.npz"


def first_checkpoint(wildcards):
    """Speed does not depend on the seed of the training: one run stands for all."""
    return run_files("checkpoint.safetensors", [wildcards.variant])[0]


def base_checkpoint(wildcards):
    """Of the variant that this one's latency is compared with, if there is one."""
    base = parent(wildcards)
    return {"base_checkpoint": run_files("checkpoint.safetensors", [base])[0]} if base else {}


# Params: what a rule's result depends on.


def subset_choice(wildcards):
    return canonical({k: v for k, v in DATA.items() if k not in ("images", "photos", "image_size")})


def training(wildcards):
    return canonical(identity(STUDY.training(wildcards.variant)))


def autoencoder_training(wildcards):
    return canonical(identity(AUTOENCODER["train"]))


# A param that is told the output is no reason to rerun.


def save_every_steps(wildcards, output):
    return STUDY.training(wildcards.variant)["save_every_steps"]


def micro_batch_size(wildcards, output):
    return STUDY.training(wildcards.variant)["micro_batch_size"]


def autoencoder_save_every_steps(wildcards, output):
    return AUTOENCODER["train"]["save_every_steps"]


def all_prompts(wildcards, output):
    """Of every variant: they are checked as soon as the classes are known."""
    of_each = [STUDY.sampling(variant)["prompts"] or [] for variant in STUDY.variants]
    return sorted(set().union(*of_each))


def whole_config(wildcards, output):
    return canonical(config)


def distill(wildcards):
    return canonical(STUDY.block(wildcards.variant).get("distill", {}))


def own_operations(wildcards):
    return canonical(STUDY.block(wildcards.variant)["apply"])


def code_of_both(script, variant, other):
    """Digest of a step that runs `variant` and `other`, if there is another."""
    kinds = STUDY.parts(variant)
    if other:
        kinds = {part: kinds[part] | STUDY.parts(other)[part] for part in kinds}
    return code_of(script, **kinds)


def train_code(wildcards):
    return code_of_both("train", wildcards.variant, STUDY.teacher(wildcards.variant))


def compress_code(wildcards):
    return model_code("compress", wildcards.variant)


def sampling(wildcards):
    return canonical(STUDY.sampling(wildcards.variant))


def num_timesteps(wildcards):
    """Of the training of the weights that are sampled."""
    return STUDY.training(STUDY.root(wildcards.variant))["num_timesteps"]


def sample_code(wildcards):
    return sampling_code("sample", wildcards.variant)


def shard_code(wildcards):
    return sampling_code("sample_shard", wildcards.variant)


def sampling_code(script, variant):
    return model_code(script, variant, sampler={STUDY.sampling(variant)["sampler"]})


def count_code(wildcards):
    return model_code("count_cost", wildcards.variant)


def speed_code(wildcards):
    return code_of_both("measure_speed", wildcards.variant, parent(wildcards))


def measurement():
    return canonical({k: v for k, v in config["speed"].items() if k != "table_batch_size"})


# Report: where a result stands.


def figure_report(name):
    return report(
        f"results/{STUDY.name}/figures/{name}.png",
        caption=f"../report/{name}.rst",
        category="Figures",
        labels={"figure": name.replace("_", " "), "format": "png"},
    )


def table_report(name, caption):
    return report(
        f"results/{STUDY.name}/tables/{name}",
        caption=f"../report/{caption}.rst",
        category="Tables",
        labels={"table": name},
    )


def beside_paper(*names):
    """Tables of where the study differs from the paper's, if it has one."""
    return {name.replace(".", "_"): table_report(name, "paper") for name in names if PAPER}

"""Train one variant with one seed, from nothing or a parent's weights, under a teacher if it has
one."""

from contextlib import nullcontext
from pathlib import Path


def train(
    latents,
    latents_manifest,
    checkpoint,
    losses,
    report,
    variant,
    structure,
    training,
    save_every_steps,
    micro_batch_size,
    operations,
    distill,
    seed,
    state,
    events,
    recipe,
    parent=None,
    teacher=None,
):
    """Where torchrun has started several processes, each runs this and the first writes."""
    from slimdit.compute.devices import device
    from slimdit.compute.precision import chosen_dtype, name_of
    from slimdit.compute.process_group import Processes
    from slimdit.core.canonical import fingerprint
    from slimdit.data.latents import LatentBatches, LatentCache
    from slimdit.diffusion.loss_terms import TERMS
    from slimdit.jobs.provenance import arithmetic, conditions, device_name, timed
    from slimdit.jobs.tensorboard import event_writer
    from slimdit.models.build import build_model, compress
    from slimdit.models.checkpoint import load_variant, read_metadata, save_variant
    from slimdit.storage.files import sha256_of, write_csv, write_json
    from slimdit.storage.resume_checkpoints import ResumeCheckpoints
    from slimdit.training.calibration import CalibrationLoss
    from slimdit.training.loop import Run, expert_load, final_terms, fit
    from slimdit.training.objective import Hyperparameters, Objective

    hyper = Hyperparameters(**training)
    cache = LatentCache(latents, latents_manifest)

    inputs = {latents: cache.sha256}
    inputs |= {path: sha256_of(path) for path in (parent, teacher) if path}
    on = device()
    dtype = name_of(chosen_dtype(hyper.precision, structure["hidden_size"], on))
    # What the run is a function of: a state made from anything else is another file.
    key = fingerprint([recipe, seed, dtype, arithmetic(), *inputs.values()])
    states = ResumeCheckpoints(state, key)
    if parent:
        loss = CalibrationLoss(cache, hyper.num_timesteps, on)
        model = compress(load_variant(parent, on), operations, loss).to(on)
        operations = read_metadata(parent)["operations"] + operations
    else:
        model = build_model(structure, seed).to(on)
    run = Run(
        model, TERMS, hyper.learning_rate, hyper.ema_decay, hyper.weight_decay, hyper.adam_betas
    )
    model.train()
    processes = Processes()
    if newest := processes.same(processes.is_first and states.newest()):
        run.load(newest)
    run.goes_on(device_name())
    teacher_model = teacher and load_variant(teacher, on).requires_grad_(False)
    batches = LatentBatches(cache, hyper.batch_size, hyper.horizontal_flip, seed, on)
    objective = Objective(
        model, hyper, batches, seed, teacher_model, distill.get("alpha", 0.0), micro_batch_size
    )

    first_step = run.step + 1
    with event_writer(events, first_step) if processes.is_first else nullcontext() as writer:

        def write_scalars(entry):
            for term in TERMS:
                if entry[term] or term in TERMS[:3]:
                    writer.add_scalar(term, entry[term], entry["step"])
            for layer, load in enumerate(entry["expert_load"] or []):
                for expert, fraction in enumerate(load):
                    writer.add_scalar(f"expert_load/{layer}/{expert}", fraction, entry["step"])

        fit(
            run,
            hyper.steps,
            objective,
            states,
            hyper.log_every_steps,
            save_every_steps,
            write_scalars,
            hyper.learning_rate_at,
        )

    if not processes.is_first:
        return
    has_term = {"distillation": teacher is not None, "balance": run.history[-1]["expert_load"]}
    columns = ("step", *TERMS)
    rows = [
        {c: entry[c] if has_term.get(c, True) else "" for c in columns} for entry in run.history
    ]
    where_from = conditions(
        at=checkpoint,
        recipe=recipe,
        inputs=inputs,
        variant=variant,
        seed=seed,
        step=run.step,
        processes=processes.size,
        micro_batch_size=micro_batch_size,
    )
    save_variant(checkpoint, run.averaged_model(), structure, operations, where_from)
    write_csv(losses, list(columns), rows)
    write_json(
        report,
        {
            "variant": variant,
            "seed": seed,
            "steps": run.step,
            "batch_size": hyper.batch_size,
            "dtype": dtype,
            **final_terms(run.history, has_term, TERMS),
            "steps_per_s": run.step / run.wall_s,
            "wall_s": run.wall_s,
            "devices": run.devices,  # steps_per_s is of all of them
            "expert_load": expert_load(run.history),
            "origin": timed(where_from)
            | {"outputs": {path.name: sha256_of(path) for path in map(Path, (checkpoint, losses))}},
        },
    )
    states.finish()


if __name__ == "__main__":
    from slimdit.jobs.job import job
    from slimdit.jobs.launch import run_on

    with job(snakemake) as gpus:
        arguments = {**snakemake.input, **snakemake.params, **snakemake.output}
        run_on(gpus, train, arguments, snakemake.log[0])

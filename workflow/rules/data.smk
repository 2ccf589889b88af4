# Images to a subset, its latents and its reference.


if DATA["photos"]:

    rule cut_photos:
        output:
            images=directory(DATA["images"]),
            cut=CUT,
        log:
            f"results/{STUDY.name}/logs/cut_photos.log",
        localrule: True
        conda:
            "../../envs/slimdit.yaml"
        threads: 1
        resources:
            mem_mb=1000,
        params:
            photos=canonical(DATA["photos"]),
            seed=DATA["seed"],
            code=code_of("cut_photos"),
        message:
            "Cutting an image folder from packaged photographs"
        script:
            "../scripts/cut_photos.py"


rule select_subset:
    input:
        unpack(cut_images),
    output:
        subset="results/{study}/data/subset.csv",
        bad_images="results/{study}/data/bad_images.csv",
    log:
        "results/{study}/logs/select_subset.log",
    conda:
        "../../envs/slimdit.yaml"
    threads: all_cores()
    resources:
        mem_mb=2000,
    params:
        images_root=DATA["images"],
        data=subset_choice,
        prompts=all_prompts,
        state="results/{study}/state/subset",
        code=code_of("select_subset"),
    message:
        "Drawing classes and images, and looking for bad ones"
    script:
        "../scripts/select_subset.py"


if AUTOENCODER["train"]:

    rule train_autoencoder:
        input:
            unpack(cut_images),
            subset=f"results/{STUDY.name}/data/subset.csv",
        output:
            weights=f"{AUTOENCODER['source']}/diffusion_pytorch_model.safetensors",
            model_config=f"{AUTOENCODER['source']}/config.json",
            report=f"{AUTOENCODER['source']}/autoencoder.json",
        log:
            f"results/{STUDY.name}/logs/train_autoencoder.log",
        conda:
            "../../envs/slimdit.yaml"
        threads: all_cores()
        resources:
            gpu=1,
            mem_mb=4000,
        params:
            images_root=DATA["images"],
            image_size=DATA["image_size"],
            latent_channels=AUTOENCODER["latent_channels"],
            training=autoencoder_training,
            save_every_steps=autoencoder_save_every_steps,
            state=f"results/{STUDY.name}/state/autoencoder",
            code=code_of("train_autoencoder"),
        message:
            "Training the autoencoder"
        script:
            "../scripts/train_autoencoder.py"


rule encode_latents:
    input:
        unpack(cut_images),
        unpack(trained_autoencoder),
        subset="results/{study}/data/subset.csv",
    output:
        latents="results/{study}/data/latents.npy",
        manifest="results/{study}/data/latents.json",
    log:
        "results/{study}/logs/encode_latents.log",
    conda:
        "../../envs/slimdit.yaml"
    threads: all_cores()
    resources:
        gpu=1,
        mem_mb=4000,
    params:
        images_root=DATA["images"],
        image_size=DATA["image_size"],
        latent_channels=AUTOENCODER["latent_channels"],
        downsample_factor=AUTOENCODER["downsample_factor"],
        source=AUTOENCODER["source"],
        revision=AUTOENCODER["revision"],
        precision=AUTOENCODER["encode_precision"],
        normalize=AUTOENCODER["normalize"],
        latent_std=AUTOENCODER["latent_std"],
        batch_size=AUTOENCODER["encode_batch_size"],
        state="results/{study}/state/latents",
        code=code_of("encode_latents"),
    message:
        "Encoding images to latents"
    script:
        "../scripts/encode_latents.py"


if GRAPH and config["inception_graph_url"]:

    rule fetch_inception_graph:
        output:
            graph=GRAPH,
        log:
            f"results/{STUDY.name}/logs/fetch_inception_graph.log",
        localrule: True  # nodes may have no network
        conda:
            "../../envs/inception.yaml"
        threads: 1
        resources:
            mem_mb=500,
        params:
            url=config["inception_graph_url"],
            code=code_of("fetch_inception_graph"),
        message:
            "Downloading the Inception graph"
        script:
            "../scripts/fetch_inception_graph.py"


rule make_reference:
    input:
        unpack(cut_images),
        unpack(extractor_graph),
        subset="results/{study}/data/subset.csv",
    output:
        reference="results/{study}/data/reference.npz",
        features="results/{study}/data/reference-features.npz",
    log:
        "results/{study}/logs/make_reference.log",
    conda:
        EXTRACTOR_ENV
    threads: 1
    resources:
        mem_mb=4000,
    params:
        images_root=DATA["images"],
        image_size=DATA["image_size"],
        evaluation=EVALUATION,
        state="results/{study}/state/reference",
        code=code_of("make_reference", extractor=EXTRACTOR),
    message:
        "Making the reference set and its features"
    script:
        "../scripts/make_reference.py"

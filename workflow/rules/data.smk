# Images to a subset, its latents and its reference.


if STEPS["cut_photos"].needed(STUDY):

    rule cut_photos:
        output:
            images=directory(output_of("cut_photos")["images"]),
            cut=output_of("cut_photos")["cut"],
        log:
            log_of("cut_photos"),
        localrule: True
        conda:
            "../../envs/slimdit.yaml"
        threads: threads_of("cut_photos")
        resources:
            **resources_of("cut_photos", mem_mb=1000),
        params:
            **params_of("cut_photos"),
        message:
            "Cutting an image folder from packaged photographs"
        script:
            "../scripts/cut_photos.py"


rule select_subset:
    input:
        unpack(cut_images),
    output:
        **output_of("select_subset"),
    log:
        log_of("select_subset"),
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("select_subset")
    resources:
        **resources_of("select_subset", mem_mb=2000),
    params:
        **params_of("select_subset"),
    message:
        "Drawing classes and images, and looking for bad ones"
    script:
        "../scripts/select_subset.py"


if STEPS["train_autoencoder"].needed(STUDY):

    rule train_autoencoder:
        input:
            unpack(cut_images),
            subset=LAYOUT.data("subset.csv"),
        output:
            **output_of("train_autoencoder"),
        log:
            log_of("train_autoencoder"),
        conda:
            "../../envs/slimdit.yaml"
        threads: threads_of("train_autoencoder")
        resources:
            **resources_of("train_autoencoder", mem_mb=4000),
        params:
            **params_of("train_autoencoder"),
        message:
            "Training the autoencoder"
        script:
            "../scripts/train_autoencoder.py"


rule encode_latents:
    input:
        unpack(cut_images),
        unpack(trained_autoencoder),
        subset=LAYOUT.data("subset.csv"),
    output:
        **output_of("encode_latents"),
    log:
        log_of("encode_latents"),
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("encode_latents")
    resources:
        **resources_of("encode_latents", mem_mb=4000),
    params:
        **params_of("encode_latents"),
    message:
        "Encoding images to latents"
    script:
        "../scripts/encode_latents.py"


rule reconstruct:
    input:
        unpack(trained_autoencoder),
        subset=LAYOUT.data("subset.csv"),
        # What the arrays hold is in their manifest, by digest.
        latents=ancient(LAYOUT.data("latents.npy")),
        held_out_latents=ancient(LAYOUT.data("held_out_latents.npy")),
        latents_manifest=LAYOUT.data("latents.json"),
    output:
        **output_of("reconstruct"),
    log:
        log_of("reconstruct"),
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("reconstruct")
    resources:
        **resources_of("reconstruct", mem_mb=4000),
    params:
        **params_of("reconstruct"),
    message:
        "Putting real images through the autoencoder"
    script:
        "../scripts/reconstruct.py"


rule make_reference:
    input:
        unpack(cut_images),
        unpack(extractor_graph),
        subset=LAYOUT.data("subset.csv"),
        reconstructions=LAYOUT.data("reconstructions.npz"),
    output:
        **output_of("make_reference"),
    log:
        log_of("make_reference"),
    conda:
        EXTRACTOR_ENV
    threads: threads_of("make_reference")
    resources:
        **resources_of("make_reference", mem_mb=4000),
    params:
        **params_of("make_reference"),
    message:
        "Making the reference set and its features"
    script:
        "../scripts/make_reference.py"

"""Messages of packages that mean nothing to whoever runs a study."""

import logging
import os
import re
import warnings

# By the logger that they come from. All else that it has to say is heard.
LOGGED = {
    # torchao registers its types as an older torch wanted them.
    "torch.utils._pytree": "is an Enum subclass and is now natively supported",
    # torchao's own kernels for GPUs, which no layer here uses, are for a torch with CUDA.
    "torchao": "Failed to load ",
    # diffusers asks for types that torchao no longer has; no autoencoder here needs them.
    "diffusers.quantizers.torchao.torchao_quantizer": "Unable to import `torchao` Tensor objects",
    # Autoencoders are small: loading them in one go is right.
    "diffusers.models.modeling_utils": "`accelerate` was not found in the environment",
}
WARNED = (
    # torch.compile keeps no graph of a quantized model for the next process.
    "does not implement _stable_hash_for_caching",
    # What is computed in float32 is meant to have float32's digits.
    "TensorFloat32 tensor cores for float32 matrix multiplication available but not enabled",
)


def hide_meaningless() -> None:
    """From here on these messages of this process are neither shown nor logged."""
    os.environ["KINETO_LOG_LEVEL"] = "99"  # of PyTorch's profiler, which says when it starts
    for name, text in LOGGED.items():
        logging.getLogger(name).addFilter(lambda record, text=text: text not in record.getMessage())
    for text in WARNED:
        warnings.filterwarnings("ignore", message=f".*{re.escape(text)}")

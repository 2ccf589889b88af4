"""Files of the Hugging Face hub, downloaded once into this machine's cache; torch-free."""

import re
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.storage.files import sha256_of

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
LFS_POINTER = b"version https://git-lfs"
SHA256_DIGITS = 64


def downloaded(
    source: str | Path, revision: str | None, names: tuple[str, ...], key: str, advice: str
) -> Path:
    """The first of `names` that `source` has at `revision`, on this machine.

    key: of the config, that names the source. Raises InputError where it cannot be had; where
    there is none of them the sentence ends in `advice`.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    is_cut_off = False
    for name in names:
        try:
            return Path(hf_hub_download(str(source), name, revision=revision))
        except (LocalEntryNotFoundError, ConnectionError):
            is_cut_off = True
        except EntryNotFoundError:
            continue
        except HfHubHTTPError as error:
            raise InputError(
                f"{source} at {revision} cannot be downloaded ({' '.join(str(error).split())}); "
                f"mend {key}.source or {key}.revision, or log in by hf auth login."
            ) from None
        except OSError as error:
            raise InputError(
                f"{source} cannot be written to this machine's cache ({error}); set HF_HOME to a "
                "folder of yours with room for it."
            ) from None
    if is_cut_off:
        raise InputError(
            f"{source} is not in this machine's cache and the hub cannot be reached; where it can, "
            f"run: hf download {source} --revision {revision}"
        )
    raise InputError(f"{source} has no {' or '.join(names)} at {revision}; {advice}.")


def check_sha256(path: Path, source: str | Path, revision: str | None) -> Path:
    """`path` of the cache, which names a large file by the sha256 that the hub has of it; raises
    InputError where it has another."""
    blob = path.resolve()
    if len(blob.name) == SHA256_DIGITS and sha256_of(blob) != blob.name:
        raise InputError(
            f"{blob} is not what {source} has at {revision} (its sha256 should be its name); "
            "delete it to download it again."
        )
    return path


def refuse_pointer(path: Path) -> None:
    """Raises InputError where Git has not fetched the file."""
    if path.is_file():
        with open(path, "rb") as file:
            if file.read(len(LFS_POINTER)) == LFS_POINTER:
                raise InputError(
                    f"{path} is a pointer of Git LFS, not the file itself; "
                    f"run git lfs pull in {path.parent}."
                )

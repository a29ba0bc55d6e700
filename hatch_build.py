"""The part of the package's build that compiles the kernels, where there is a compiler."""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KernelBuildHook(BuildHookInterface):
    """Runs src/hogwild/native/build.py. A failure is told and makes a package without kernels, not an error."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is made (``version`` "standard") and before an editable install ("editable")."""
        script = Path(self.root) / "src" / "hogwild" / "native" / "build.py"
        spec = importlib.util.spec_from_file_location("hogwild_native_build", script)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        problem = module.build()
        built = [path.relative_to(self.root) for path in map(module.library, module.INSTRUCTIONS) if path.is_file()]
        if problem:
            self.app.display_warning(f"hogwild is built without {'some' if built else 'all'} of its kernels: {problem}")
        if built and version != "editable":
            # Plain C functions: any Python 3 of this platform can load them.
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"], build_data["tag"] = False, f"py3-none-{platform}"
            build_data["artifacts"].extend(path.as_posix() for path in built)

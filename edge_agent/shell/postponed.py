"""Modules that a library imports for a case that most devices never meet: loaded when that case is there."""

import importlib
import sys
import urllib.parse  # noqa: F401 - the parent of one that is postponed must be there
from types import ModuleType
from typing import Any

LATER = ("urllib.request", "numpy._core._add_newdocs", "numpy._core._add_newdocs_scalars")
"""paho asks the first for a proxy, but only where PySocks is installed; with it come an HTTP client and a mail parser.
numpy's two write its documentation into its functions, which nobody asks a daemon for. Together 20 ms and 2.4 MiB."""


class Postponed(ModuleType):
    """Stands in `sys.modules` until something of the module is used; then the module itself stands there."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # the import system's own questions
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def postpone(name: str) -> None:
    """Let `import NAME` cost nothing until something of it is used. What is loaded already stays as it is."""
    if name in sys.modules:
        return
    sys.modules[name] = module = Postponed(name)
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, module)

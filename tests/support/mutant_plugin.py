"""Puts a mutant in a module's place, as a pytest plugin: of MUTANT, the file MUTANT_FILE."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import SourceFileLoader

MODULE = os.environ["MUTANT"]
_parent, _, _name = MODULE.rpartition(".")
_spec = importlib.util.spec_from_loader(MODULE, SourceFileLoader(MODULE, os.environ["MUTANT_FILE"]))
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules[MODULE] = _module
_spec.loader.exec_module(_module)
setattr(importlib.import_module(_parent), _name, _module)

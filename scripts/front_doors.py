"""The import rule of the house that import-linter does not bring: nobody reaches past a front door.

A module inside a package may be imported from inside that package alone; everybody else asks the package itself, whose
`__init__` hands out what others may use. Packages may be asked by anyone: what is above and below is for the layers.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class FrontDoors(Contract):
    """`type = "front_doors"`, `root = "chandler"`: holds for every package below the root, also for those to come."""

    type_name = "front_doors"

    root = fields.StringField()

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        root = str(self.root)
        found = []
        for module in sorted(graph.modules):
            package = module.rpartition(".")[0]
            if package in ("", root) or graph.find_children(module):
                continue
            for importer in sorted(graph.find_modules_that_directly_import(module)):
                if importer != package and not importer.startswith(package + "."):
                    details = graph.get_import_details(importer=importer, imported=module)
                    past = [detail for detail in details if not _asks_the_door(detail["line_contents"], module)]
                    lines = ", ".join(str(detail["line_number"]) for detail in past)
                    if past:
                        found.append(f"{importer} (line {lines}) imports {module}: import from {package}")
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for line in check.metadata["found"]:
            output.print_error(line)


def _asks_the_door(line: str, module: str) -> bool:
    """Whether a line asks the package for a name that it hands out and that a module of it has as well."""
    package, _, name = module.rpartition(".")
    return bool(re.match(rf"\s*from {re.escape(package)} import\b", line)) and name in _handed_out(package)


@cache
def _handed_out(package: str) -> frozenset[str]:
    """The names of `__all__`."""
    spec = find_spec(package)
    source = spec and spec.origin
    assert source, package
    for node in ast.parse(Path(source).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return frozenset(ast.literal_eval(node.value))
    return frozenset()

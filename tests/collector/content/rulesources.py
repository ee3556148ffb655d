"""Sigma rules for tests: our own in the tree, and those of the community where they lie."""

import os
from pathlib import Path

import pytest

from collector.content.sigma import Compiled, compile_rules
from collector.content.sigmayaml import SourceFile, source_files

OWN = Path(__file__).parents[2] / "data" / "sigma"


def published() -> Path:
    """Return the rules of the community, or skip."""
    data = os.environ.get("VEDETTE_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data"
    found = Path(data) / "sigma" / "rules"
    if not found.is_dir():
        pytest.skip(f"no published Sigma rules at {found} (set VEDETTE_TEST_DATA)")
    return found


def compiled(text: str, **placeholders: list[str]) -> Compiled:
    """Compile one file's text."""
    return compile_rules([SourceFile("rule.yml", text.encode())], placeholders)


def own() -> Compiled:
    """Compile the rules of the tree, filters applied."""
    return compile_rules(source_files(OWN), {})


def a_rule(detection: str, condition: str = "sel", more: str = "") -> str:
    """Return a rule around the lines of a detection."""
    return (
        "title: A rule\nid: 0f0e0d0c-0000-4000-8000-000000000001\n"
        "logsource: {product: linux, category: process_creation}\n"
        f"detection:\n{detection}\n  condition: {condition}\n{more}"
    )

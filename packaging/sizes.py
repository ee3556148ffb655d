"""Print files above 400 lines and functions above 70, as information.

A large one usually holds two nouns. Nothing fails: a thought is never cut to please a number.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("agent", "bench", "certs", "collector", "packaging", "proto", "runtime", "vedette")
FILE_LINES = 400
FUNCTION_LINES = 70


def functions(source: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, first line and length of each function, docstring and decorators included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1


def outliers(path: Path, source: str) -> Iterator[str]:
    """Yield a line for the file and for each function of it that is large."""
    lines = source.count("\n")
    if lines > FILE_LINES:
        yield f"{path}: {lines} lines"
    for name, first, length in functions(source):
        if length > FUNCTION_LINES:
            yield f"{path}:{first}: {name} has {length} lines"


def main() -> None:
    """Look at every source file that is not generated."""
    for folder in (*FOLDERS, "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not path.match("*_pb2*.py"):
                for line in outliers(path.relative_to(ROOT), path.read_text("utf-8")):
                    print(f"  {line}")


if __name__ == "__main__":
    main()

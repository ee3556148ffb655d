"""Write the Python code of the protobuf schema, or check that it is what the schema gives.

    python packaging/generate.py           write it below proto/
    python packaging/generate.py --check   exit 1 and name every file that differs

The include root is the repository, so that generated code imports ``proto.vedette.v1``; the wire
package stays ``vedette.v1``. Messages get types, services also get stubs.
"""

import os
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = "proto/vedette/v1"
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def generate(out: Path) -> None:
    """Write all generated files below ``out``.

    Raises:
        SystemExit: the compiler refused the schema.
    """
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    paths = sorted((ROOT / SCHEMA).glob("*.proto"))
    services = [path for path in paths if "\nservice " in path.read_text()]
    _compile(["--python_out", "--mypy_out"], paths, out)
    _compile(["--grpc_python_out", "--mypy_grpc_out"], services, out)


def _compile(outputs: list[str], paths: list[Path], out: Path) -> None:
    flags = [f"{name}={'quiet:' if 'mypy' in name else ''}{out}" for name in outputs]
    names = [str(path.relative_to(ROOT)) for path in paths]
    if protoc.main(["protoc", f"-I{ROOT}", *flags, *names]) != 0:
        raise SystemExit("the schema does not compile")


def files(folder: Path) -> dict[str, bytes]:
    """Return name and content of each generated file in the folder."""
    return {path.name: path.read_bytes() for glob in GENERATED for path in folder.glob(glob)}


def differing() -> list[str]:
    """Return the names of the files that are missing, left over or different."""
    with tempfile.TemporaryDirectory() as fresh:
        generate(Path(fresh))
        wanted, found = files(Path(fresh) / SCHEMA), files(ROOT / SCHEMA)
    names = wanted.keys() | found.keys()
    return sorted(name for name in names if wanted.get(name) != found.get(name))


def main() -> int:
    """Write or check, as the argument says."""
    if "--check" in sys.argv[1:]:
        names = differing()
        if names:
            print(f"not what the schema gives: {', '.join(names)}; run make proto", file=sys.stderr)
        return 1 if names else 0
    for name in files(ROOT / SCHEMA):
        (ROOT / SCHEMA / name).unlink()
    generate(ROOT)
    return 0


if __name__ == "__main__":
    sys.exit(main())

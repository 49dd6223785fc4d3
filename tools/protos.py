"""The contract's keeper: generates the stubs in munjang/v1, and checks that protos and stubs are as they should be.

    python -m tools.protos generate    write the stubs (make protos)
    python -m tools.protos stubs       are the committed stubs those of the protos?
    python -m tools.protos lint        buf: STANDARD, and a comment on every element
    python -m tools.protos breaking    buf: does every client of the last release still work?
    python -m tools.protos baseline    write protos/baseline.json, at a release only (make protos-baseline)

protoc compiles the protos and buf judges the result: so `google/rpc/status.proto` comes from the installed package that
the stubs import too, and nothing is fetched. `--protos DIR` judges another folder of protos.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.resources import files
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.json_format import MessageToJson
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path("munjang/v1")
BASELINE = ROOT / "protos" / "baseline.json"
SCRIPTS = Path(sysconfig.get_path("scripts"))


def main() -> int:
    """Run the command that the arguments name; the exit status is 0 where all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["generate", "stubs", "lint", "breaking", "baseline"])
    parser.add_argument("--protos", type=Path, default=ROOT / "protos", metavar="DIR")
    arguments = parser.parse_args()
    protos: Path = arguments.protos.resolve()
    match arguments.command:
        case "generate":
            generate(protos)
            return 0
        case "stubs":
            return stubs(protos)
        case "lint":
            return buf("lint", protos)
        case "breaking":
            return buf("breaking", protos, "--against", str(BASELINE), "--exclude-imports")
        case _:
            baseline(protos)
            return 0


def generate(protos: Path) -> None:
    """Put the stubs of `protos` into munjang/v1, and remove those of protos that are no more."""
    committed = ROOT / PACKAGE
    with tempfile.TemporaryDirectory() as folder:
        fresh = compiled_stubs(protos, Path(folder))
        for path in fresh.iterdir():
            shutil.copy(path, committed)
        for stale in {path.name for path in committed.glob("*_pb2*")} - {path.name for path in fresh.iterdir()}:
            (committed / stale).unlink()


def stubs(protos: Path) -> int:
    """Name the committed stubs that differ from freshly generated ones; 1 if there are any."""
    committed = ROOT / PACKAGE
    with tempfile.TemporaryDirectory() as folder:
        fresh = compiled_stubs(protos, Path(folder))
        names = {path.name for place in (fresh, committed) for path in place.glob("*_pb2*")}
        _, different, missing = filecmp.cmpfiles(fresh, committed, names, shallow=False)
    for name in sorted(different + missing):
        sys.stderr.write(f"{PACKAGE / name} is not what protos/ generates: run `make protos` and commit the result\n")
    return int(bool(different or missing))


def compiled_stubs(protos: Path, root: Path) -> Path:
    """Generate the stubs of `protos` below `root`; returns their folder."""
    outputs = [
        f"--python_out={root}",
        f"--grpc_python_out={root}",
        f"--mypy_out=quiet:{root}",
        f"--mypy_grpc_out=quiet:{root}",
    ]
    plugins = [f"--plugin={name}={SCRIPTS / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    compile_protos(protos, *plugins, *outputs)
    return root / PACKAGE


def buf(check: str, protos: Path, *options: str) -> int:
    """Let buf check the compiled protos; its findings go to the terminal."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        image.write_bytes(compiled(protos, "--include_source_info"))
        command = [str(SCRIPTS / "buf"), check, str(image), "--config", str(ROOT / "buf.yaml"), *options]
        return subprocess.run(command, check=False).returncode  # noqa: S603 - our own tool and arguments


def baseline(protos: Path) -> None:
    """Write the contract as it stands, imports included, as what later contracts are held against."""
    descriptors = FileDescriptorSet.FromString(compiled(protos))
    BASELINE.write_text(MessageToJson(descriptors, indent=1) + "\n", encoding="utf-8")


def compiled(protos: Path, *options: str) -> bytes:
    """The protos and their imports as a serialised FileDescriptorSet."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        compile_protos(protos, "--include_imports", f"--descriptor_set_out={image}", *options)
        return image.read_bytes()


def compile_protos(protos: Path, *options: str) -> None:
    """Run protoc on every proto below `protos`; it has said why where it fails."""
    sources = sorted(str(path.relative_to(protos)) for path in (protos / PACKAGE).glob("*.proto"))
    well_known = files("grpc_tools") / "_proto"
    googleapis = Path(str(files("google.rpc") / "status.proto")).parents[2]
    includes = [f"-I{protos}", f"-I{well_known}", f"-I{googleapis}"]
    if protoc.main(["protoc", *includes, *options, *sources]):
        sys.exit("protoc failed")


if __name__ == "__main__":
    sys.exit(main())

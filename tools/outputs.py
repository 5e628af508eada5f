"""What the command writes of every capture, as digests: `python tools/outputs.py DIR... > before`.

    python tools/outputs.py examples tests/data/real > before
    python tools/outputs.py examples tests/data/real --rxtls /another/tree/.venv/bin/rxtls > after
    diff before after

A line for each capture and each thing that is written of it: the summary, the table on the terminal, the plaintext as a
capture and as streams, the annotated capture. Times of the run are left out. What a change of layout must not change
are these lines; what a mend changes stands in them. A capture's key log is found as tools/corpus.py finds it. Exit
status 2 where there is no capture.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from corpus import captures, keys_of

ROOT = Path(__file__).resolve().parent.parent
# What is another in each run: how long it took, and which version and tools it was.
PASSING = re.compile(rb'"(wall_seconds|rxtls|libcrypto|engine)": [^\n]*\n|\b[0-9.,]+ (s|ms|us|GB/s|MB/s|Gbit/s)\b')


def digest_of(path: Path) -> str:
    """Of a file, or of all files of a folder with their names; `-` where nothing was written."""
    if path.is_dir():
        text = "".join(f"{each.relative_to(path)} {digest_of(each)}\n" for each in sorted(path.rglob("*")))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
    return hashlib.sha256(PASSING.sub(b"", path.read_bytes())).hexdigest()[:16] if path.exists() else "-"


def lines(rxtls: str, capture: Path, keys: list[Path], engine: str) -> Iterator[str]:
    """One for each thing that is written, and one for the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        given = [word for each in keys for word in ("--keys", str(each.resolve()))]
        written = ["--json", "json", "--plain", "plain", "--streams", "streams", "--annotate", "annotated"]
        done = subprocess.run(
            [rxtls, "replay", str(capture.resolve()), *given, "--engine", engine, "--digest", *written],
            cwd=out, stdin=subprocess.DEVNULL, capture_output=True, timeout=1800, check=False,
            env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
        )  # fmt: skip
        (out / "terminal").write_bytes(done.stdout + done.stderr)
        yield f"{capture}: exit status {done.returncode}"
        for name in ("json", "terminal", "plain", "streams", "annotated"):
            yield f"{capture}: {name} {digest_of(out / name)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument(
        "--rxtls", default=str(Path(sys.executable).parent / "rxtls"), help="the command of another tree"
    )
    parser.add_argument("--engine", default="auto", help="auto, compiled or plain")
    options = parser.parse_args()
    found = list(captures(options.folders))
    for capture in found:
        for line in lines(options.rxtls, capture, keys_of(capture), options.engine):
            print(line, flush=True)
    return 0 if found else 2


if __name__ == "__main__":
    sys.exit(main())

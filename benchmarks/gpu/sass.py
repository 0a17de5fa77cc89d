"""`python -m benchmarks gpu-sass OBJECT ... --out FILE`: what nvcc has made of the kernels, for `predict`.

OBJECT: files of kernels compiled for one architecture, as a build with CUDA leaves them. Needs NVIDIA's cuobjdump and
nvdisasm on the PATH (from the toolkit, or the packages nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm). FILE gets for
each kernel its registers, its instructions, and those of the loop that multiplies most: counts of the code, not of what
runs; of two branches both count.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COUNTED = ("FFMA", "DFMA", "HMMA", "LDS", "LDSM", "LDG", "STS", "STG", "BAR", "MUFU")
INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,6})\*/\s+(?:@!?U?P\d+ )?([A-Z][A-Z0-9_]*)[^;]*?(?:(0x[0-9a-f]+) )?;")
Found = dict[str, Any]


def plain(name: str) -> str:
    """A kernel's name and its template arguments, of its mangled name."""
    found = re.search(r"\d([a-z][a-z_]*_kernel)(I.*?E)?(?:Ev|v|E|P|$)", name)
    if found is None:
        return name
    arguments, words = found.group(2) or "", list[str]()
    for kind, number, enumerated, operand in re.findall(
        r"L([bi])(\d+)E|LNS\w*?E(\d)E|(Bf16Operand|Tf32Operand|Tf32x3Operand|Bf16Stored)", arguments
    ):
        words.append(operand or enumerated or (number if kind == "i" else ("false", "true")[int(number)]))
    words[:0] = [{"f": "float", "d": "double"}[letter] for letter in re.findall(r"^I([fd])", arguments)]
    return f"{found.group(1)}<{', '.join(words)}>" if words else found.group(1)


def loop(code: list[tuple[int, str, int | None]]) -> Found:
    """Of the loop with the most multiplications of its own, the instructions by kind; without those of loops inside."""
    loops = [(target, at) for at, name, target in code if name == "BRA" and target is not None and target < at]
    best: Found = {}
    for first, last in loops:
        inner = [(a, b) for a, b in loops if (a, b) != (first, last) and first <= a and b <= last]
        own = Counter(name for at, name, _ in code if first <= at <= last and not any(a <= at <= b for a, b in inner))
        # a loop with special functions is an epilogue's
        products = 1000 * own["HMMA"] + (0 if own["MUFU"] else own["FFMA"] + own["DFMA"])
        if products > best.get("products", 0):
            best = {"products": products, "all": sum(own.values()), **{key: own[key] for key in COUNTED if own[key]}}
    best.pop("products", None)
    return best


def kernels(path: Path) -> dict[str, Found]:
    """All kernels of a file."""
    text = subprocess.run(["cuobjdump", "-sass", str(path)], check=True, capture_output=True, text=True).stdout
    usage = subprocess.run(["cuobjdump", "-res-usage", str(path)], check=True, capture_output=True, text=True).stdout
    registers = dict(re.findall(r"Function (\S+):\s*\n\s*REG:(\d+)", usage))
    found: dict[str, Found] = {}
    for part in text.split("Function : ")[1:]:
        name, _, body = part.partition("\n")
        code = [
            (int(at, 16), word, int(target, 16) if target and word == "BRA" else None)
            for at, word, target in INSTRUCTION.findall(body)
            if word != "NOP"
        ]
        entry: Found = {"registers": int(registers.get(name.strip(), 0)), "instructions": len(code)}
        if made := loop(code):
            entry["loop"] = made
        found[plain(name.strip())] = entry
    return found


def main(arguments: Sequence[str]) -> int:
    """Write the table, a kernel a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu-sass", description=__doc__.split("\n")[0])
    parser.add_argument("objects", nargs="+", type=Path, metavar="OBJECT")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    found: dict[str, Found] = {}
    for path in options.objects:
        found |= kernels(path)
    rows = [f" {json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(found.items())]
    options.out.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    return 0

"""The tables of a GPU result: case by case, and goal by goal with what was measured beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.gpu.cases import CASES, GOALS, MEANINGS, TITLES, GpuCase, goals_of
from benchmarks.machine import DISTURBED
from benchmarks.report import Figure, Result


def sound(case: Result) -> bool:
    """Whether fastdense was timed, and everybody's losses agreed."""
    return "error" not in case and "fastdense" in case.get("libraries", {}) and case["gate"]["passed"]


def step(case: Result, name: str) -> float | None:
    """Seconds of a step."""
    library = case.get("libraries", {}).get(name)
    return None if library is None else library["median"] / case["steps_per_epoch"]


def ratio(case: Result, baseline: str) -> float | None:
    """Speedup over the baseline."""
    mine, theirs = step(case, "fastdense"), step(case, baseline)
    return None if mine is None or theirs is None else theirs / mine


def goals(result: Result) -> list[Result]:
    """Every goal with the ratio of each of its cases; the worst one decides."""
    known = {case.name: case for case in CASES}
    found = []
    for goal in GOALS:
        wanted = [case.name for case in CASES if goal.holds(case)]
        ratios = {
            case["name"]: value
            for case in result["cases"]
            if goal.holds(known[case["name"]]) and (value := ratio(case, goal.baseline)) is not None
        }
        worst = min(ratios.values(), default=None)
        found.append(
            {
                "text": goal.text,
                "baseline": goal.baseline,
                "least": goal.least,
                "most": goal.most,
                "cases": len(wanted),
                "measured": ratios,
                "worst": worst,
                "verdict": verdict(goal.least, goal.most, list(ratios.values())),
            }
        )
    return found


def verdict(least: float, most: float | None, ratios: Sequence[float]) -> str:
    """In a word or two. Beyond parity is no failure, but a reason to check that the same work was done."""
    if not ratios:
        return "not measured"
    reached = sum(value >= least for value in ratios)
    if reached < len(ratios):
        return "missed" if not reached else f"missed in {len(ratios) - reached} of {len(ratios)}"
    return "reached, beyond parity" if most is not None and max(ratios) > most else "reached"


def peak(result: Result, case: Result) -> float | None:
    """GFLOP/s that the device reaches with what multiplies in this case."""
    value: float | None = result.get("peaks", {}).get("gflops", {}).get(case["products"])
    return value


def _net(case: Result) -> str:
    words = " → ".join(map(str, case["net"]))
    if len(case["net"]) > 3 and len(set(case["net"][:-1])) == 1:
        words = f"{case['net'][0]} ×{len(case['net']) - 1} → {case['net'][-1]}"
    return f"{case['starts']} × ({words})" if case["starts"] > 1 else words


def _training(case: Result) -> str:
    training = case["training"]
    words = [f"batch {training['batch_size']}", training["optimizer"]]
    return ", ".join([*words, *([] if case["products"] == "float32" else [case["products"]])])


def _mine(case: Result) -> str:
    seconds = step(case, "fastdense")
    if seconds is None:
        return "–"
    library = case["libraries"]["fastdense"]
    return f"{report.duration(seconds)} ± {100 * library['mad'] / library['median']:.0f} %"


def _baseline(case: Result, name: str) -> str:
    """The ratio and its goal; without fastdense, the baseline's own time."""
    value, seconds = ratio(case, name), step(case, name)
    if value is not None:
        return report.with_goal(report.times(value), Figure(value, case["goals"].get(name)), "")
    return "–" if seconds is None else f"({report.duration(seconds)})"


def _launches(case: Result) -> str:
    counts = [case.get("libraries", {}).get(name, {}).get("launches_per_step") for name in ("fastdense", "torch-graph")]
    return " / ".join("–" if count is None else f"{count:.3g}" for count in counts)


def _peak_fraction(result: Result, case: Result) -> str:
    seconds, most = step(case, "fastdense"), peak(result, case)
    if seconds is None or most is None:
        return "–"
    return report.percent(case["gflop_per_epoch"] / case["steps_per_epoch"] / seconds / most) + " %"


PREDICTIONS = Path(__file__).parents[1] / "results" / "gpu-predictions.json"


def predicted(result: Result) -> Result | None:
    """What `predict` said of this GPU before it was measured, if it is that one."""
    if not PREDICTIONS.is_file():
        return None
    found: Result = json.loads(PREDICTIONS.read_text(encoding="utf-8"))
    return found if found["gpu"] == (result.get("gpu") or {}).get("name") else None


def rows(result: Result) -> list[list[str]]:
    """The table of cases as text cells, header first."""
    before = predicted(result)
    shown = [name for name in TITLES if any(name in case.get("libraries", {}) for case in result["cases"])]
    head = ["case", "net", "training", "fastdense, a step", *(["predicted"] if before else [])]
    table = [[*head, *(f"× {TITLES[name]}" for name in shown), "of peak", "launches a step, ours / graph"]]
    for case in result["cases"]:
        cells = [case["name"], _net(case), _training(case), _mine(case)]
        if before:
            known = before["cases"].get(case["name"])
            cells.append("–" if known is None else report.duration(known["fastdense"]["us"] / 1e6))
        cells += [_baseline(case, name) for name in shown]
        table.append([*cells, _peak_fraction(result, case), _launches(case)])
    return table


def goal_rows(found: Sequence[Result], before: Result | None = None) -> list[list[str]]:
    """The table of goals as text cells, header first; `before`: what was predicted."""
    said = {} if before is None else {(goal["text"], goal["baseline"]): goal["worst"] for goal in before["goals"]}
    head = ["goal", "times as fast as", "needed", *(["predicted"] if said else [])]
    table = [[*head, "worst measured", "cases measured", "verdict"]]
    for goal in found:
        needed = f"≥ {goal['least']:g}" if goal["most"] is None else f"{goal['least']:g} to {goal['most']:g}"
        worst = "–" if goal["worst"] is None else report.times(goal["worst"])
        counted = f"{len(goal['measured'])} of {goal['cases']}"
        known = said.get((goal["text"], goal["baseline"]))
        cells = [goal["text"], TITLES[goal["baseline"]], needed]
        cells += ["–" if known is None else report.times(known)] if said else []
        table.append([*cells, worst, counted, goal["verdict"]])
    return table


def caption(result: Result) -> str:
    """What was measured where."""
    gpu, machine = result.get("gpu") or {}, result["machine"]
    where = gpu.get("name") or f"no GPU (device {result['device']}: these times say nothing), {machine['processor']}"
    driver = result.get("nvidia_smi", {}).get("driver_version")
    words = [where, *([f"driver {driver}"] if driver else []), f"PyTorch {result['versions']['torch']}"]
    return (
        "Time per step, median ± median absolute deviation, and the speedup over PyTorch, with the goal in "
        f"brackets (without fastdense: PyTorch's own time); {', '.join(words)}, commit {result['commit']}, "
        f"{result['date'][:10]}."
    )


def peaks(result: Result) -> list[str]:
    """Peak rates and launch times of the device."""
    if "peaks" not in result:
        return []
    found = result["peaks"]
    rates = ", ".join(f"{name} {value / 1e3:.3g}" for name, value in found["gflops"].items())
    floors = ", ".join(f"{name.replace('_', ' ')} {value:.2g}" for name, value in found["microseconds"].items())
    return [
        f"Peaks, measured: products {rates} TFLOP/s; copy {found['copy_gb_per_s']:.3g} GB/s.",
        f"Floors, microseconds: {floors}.",
    ]


def notes(result: Result) -> list[str]:
    """What was left out and why, which rounds were disturbed, what failed."""
    lines = [f"The run: {result['error']}"] if "error" in result else []
    reasons: dict[str, list[str]] = {}
    for case in result["cases"]:
        for name, reason in case["unavailable"].items():
            reasons.setdefault(f"{name} left out: {reason}", []).append(case["name"])
        for name, note in case["notes"].items():
            reasons.setdefault(f"{name}: {note}", []).append(case["name"])
        if "error" in case:
            reasons.setdefault(f"failed: {case['error']}", []).append(case["name"])
        rates = case.get("sgemm_by_round", [])
        if any(rate < DISTURBED * max(rates) for rate in rates):
            reasons.setdefault("a round was disturbed (float32 products were slower)", []).append(case["name"])
    for reason, names in reasons.items():
        where = "everywhere" if len(names) == len(result["cases"]) > 1 else ", ".join(names)
        lines.append(f"{where}: {reason}")
    if result["not_run"]:
        lines.append(f"No time was left for {', '.join(result['not_run'])}.")
    return lines


def terminal(result: Result) -> str:
    """Everything for a terminal."""
    parts = [
        [caption(result)],
        report.aligned(rows(result)),
        report.aligned(goal_rows(result["goals"], predicted(result))),
        peaks(result),
        [f"{TITLES[name]}: {meaning}" for name, meaning in MEANINGS.items()],
        notes(result),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def listing(cases: Sequence[GpuCase]) -> str:
    """Names of the cases, and what they have to reach."""
    table = [["case", "rows", "steps of an epoch", "goals", "quick"]]
    for case in cases:
        asked = ", ".join(f"{value:g} × {TITLES[name]}" for name, value in goals_of(case).items())
        table.append([case.name, str(case.rows), str(case.steps), asked or "–", "yes" if case.quick else ""])
    return "\n".join(report.aligned(table))

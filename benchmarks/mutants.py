"""How many small changes of the code do the tests notice?

    python benchmarks/mutants.py FOLDER ... [--number N] [--seed S] [--limit SECONDS] [--results FILE]

A mutant is a copy of this repository with one small change in one file of the package: a comparison is flipped, a sum
becomes a difference, a number is one larger, `and` becomes `or`, a `not` is dropped, `True` becomes `False`, a return
value becomes None, two arguments are exchanged, or a statement without a result is removed. The tests of the changed
folder should fail on it. A mutant on which they pass is unnoticed: no test checks that line, or the change is harmless.

FOLDER is a folder of the package, such as method or training. Its tests are those in tests/FOLDER; a single file of the
package, such as config.py, has tests/test_config.py. All places of the given folders have equal chances to be drawn;
the same code, folders and seed give the same mutants, and a change of the code replaces only the mutants of the lines
that it touches. First the tests run without a change (`pytest -m "not slow"`) and must pass; this shows which tests
call which functions, and how long each takes. A mutant is then given the tests that call the changed function or start
processes, the fastest first, up to the first that fails; for code outside functions these are all tests. A mutant whose
tests take more than --limit seconds counts as noticed. In the end the tests that failed run once more without a change.

The results are added to a file of JSON lines, one mutant a line. The same command continues an interrupted check, and
does not repeat what the file has. It prints one line per mutant, with the change if it is unnoticed, and a table.
With --again it repeats the unnoticed ones, which is what to do after adding tests. Changes that make no difference are
listed with the reason in mutation/harmless.txt; the tests do not run on them, and the share leaves them out.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import signal
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

from mutation.changes import Mutant, difference, mutants_of
from mutation.trial import PACKAGE, REPO, Copy, tests_of

HARMLESS = Path(__file__).parent / "mutation" / "harmless.txt"


def files_of(place: str) -> list[str]:
    """The files of a folder, or the file, of the package; paths in the repository."""
    root = REPO / PACKAGE / place
    if not root.exists():
        sys.exit(f"{root} does not exist; give folders or files of {PACKAGE}, such as method or config.py")
    paths = [root] if root.is_file() else sorted(root.rglob("*.py"))
    return [path.relative_to(REPO).as_posix() for path in paths]


def draw(places: list[str], number: int, seed: int) -> dict[str, Mutant]:
    """``number`` mutants by their keys, in the order in which they are tried; a smaller number is the beginning of it.

    The order is that of a hash of the seed, the file, the changed lines, and how often these occurred before.
    """
    pool, seen = {}, Counter()
    for file in [file for place in places for file in files_of(place)]:
        text = (REPO / file).read_text()
        for mutant in mutants_of(file, text):
            change = f"{file}\n{difference(mutant, text)}"
            seen[change] += 1
            pool[f"{change}\n{seen[change]}"] = mutant
    order = sorted(pool, key=lambda key: hashlib.sha256(f"{seed}\n{key}".encode()).digest())
    return {key: pool[key] for key in order[:number]}


def read_results(path: Path) -> list[dict]:
    """The finished mutants; a line that was cut by an interruption is left out."""
    found = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def check(mutants: dict[str, Mutant], results: Path, limit: float, again: bool) -> list[dict]:
    """Run the tests on every mutant that the file of results lacks; all results, in the order of the mutants."""
    done = {r["key"]: r for r in read_results(results) if not (again and unnoticed(r))}
    found: list[dict] = []
    failed: dict[str, list[str]] = defaultdict(list)
    harmless = read_harmless()
    with tempfile.TemporaryDirectory() as work:
        copy = Copy(Path(work), limit)
        for at, (key, mutant) in enumerate(mutants.items(), 1):
            result = done.get(key)
            if (key_line := added_line(key)) in harmless:
                result = {**result_of(key, mutant), "outcome": f"harmless: {harmless[key_line]}", "test": ""}
            elif result is None:
                outcome, test = copy.try_mutant(mutant, at)
                failed[tests_of(mutant.file)].append(test)
                result = {**result_of(key, mutant), "outcome": outcome, "test": test}
                with results.open("a") as file:
                    file.write(json.dumps(result) + "\n")
            found.append(result)
            show(result, at, len(mutants))
        for tests in failed.values():
            if any(tests) and copy.run(sorted({test for test in tests if test}))[0] != "passed":
                sys.exit("some of the tests that failed also fail without a change if they are run alone")
    return found


def result_of(key: str, mutant: Mutant) -> dict:
    return {"key": key, "file": mutant.file, "line": mutant.line, "kind": mutant.kind}


def added_line(key: str) -> tuple[str, str]:
    """(file, the changed line, or the first of several) of a mutant's key."""
    file, *lines = key.splitlines()
    return file, next((line[1:].strip() for line in lines if line.startswith("+")), "")


def read_harmless() -> dict[tuple[str, str], str]:
    """The reasons why some changes make no difference, by their file and line."""
    lines = [line.split("\t") for line in HARMLESS.read_text().splitlines() if not line.startswith("#")]
    return {(f"{PACKAGE}/{file}", changed): reason for file, changed, reason in lines}


def unnoticed(result: dict) -> bool:
    return result["outcome"] in ("passed", "no test calls it")


def is_harmless(result: dict) -> bool:
    return result["outcome"].startswith("harmless")


def show(result: dict, at: int, number: int) -> None:
    place = f"{result['file']}:{result['line']}"
    noticed = "UNNOTICED" if unnoticed(result) else "-        " if is_harmless(result) else "noticed  "
    print(f"[{at}/{number}] {noticed} {place} {result['kind']} ({result['outcome']}) {result['test']}", flush=True)
    if unnoticed(result):
        print("\n".join(result["key"].splitlines()[1:-1]), flush=True)


def summary(found: list[dict]) -> None:
    """Noticed mutants by folder, then one line of JSON; both without the harmless ones."""
    all_of_them, found = found, [result for result in found if not is_harmless(result)]
    by_folder: dict[str, list[bool]] = {}
    for result in found:
        by_folder.setdefault(Path(result["file"]).parts[1], []).append(not unnoticed(result))
    print(f"\n{'folder':20} noticed  of")
    for folder, noticed in sorted(by_folder.items()):
        print(f"{folder:20} {sum(noticed):7} {len(noticed):3}")
    noticed = sum(map(sum, by_folder.values()))
    numbers = {"mutants": len(found), "harmless": len(all_of_them) - len(found), "noticed": noticed}
    print(json.dumps({**numbers, "share": round(noticed / max(len(found), 1), 3)}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="folders or files of the package, e.g. method")
    parser.add_argument("--number", type=int, default=200, help="mutants (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="which mutants (default: 0)")
    parser.add_argument("--limit", type=float, default=300, help="seconds for the tests of one mutant (default: 300)")
    parser.add_argument("--results", type=Path, default=Path("outputs/mutants.jsonl"), metavar="FILE",
                        help="file of finished mutants (default: outputs/mutants.jsonl)")  # fmt: skip
    parser.add_argument("--again", action="store_true", help="repeat the unnoticed mutants of the file of results")
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the tests in progress end too
    mutants = draw(options.folders, options.number, options.seed)
    for module in ("numpy", "torch", "h5py", "PIL.Image", "yacs.config"):  # once, and not by the tests of each mutant
        importlib.import_module(module)
    summary(check(mutants, options.results, options.limit, options.again))
    return 0


if __name__ == "__main__":
    sys.exit(main())

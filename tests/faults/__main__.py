"""`python -m tests.faults [NAME …]`: run experiments, each in a process and on servers of its own."""

import json
import os
import secrets
import shutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path
from typing import Any

from tests.faults.runner import ALONE, UNTIMED, description, names, run
from tests.faults.trial import Trial
from tests.support import services

Result = dict[str, Any]


def main() -> None:
    options = parse(sys.argv[1:])
    print(f"seed {options.seed}", file=sys.stderr, flush=True)
    wanted = options.names or [name for name in names() if name not in ALONE]
    if len(wanted) == 1:
        results = [run_here(wanted[0], options)]
    else:
        results = run_all(wanted, options)
    print(json.dumps({"seed": options.seed, "results": results}) if options.json else text(results))
    sys.exit(any(result["anomalies"] for result in results))


def parse(arguments: list[str]) -> Namespace:
    width = max(map(len, names())) + 2
    parser = ArgumentParser(
        prog="python -m tests.faults",
        description="Disturb the service and look for lost or doubled work. The exit code is 1 after an anomaly.",
        epilog="experiments:\n" + "\n".join(f"  {name:<{width}}{description(name)}" for name in names()),
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="an experiment of the list below; by default all but soak"
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="repeat a run's choices")
    parser.add_argument(
        "--minutes",
        type=float,
        default=Trial.minutes,
        help="how long `histories` may begin further histories; it ends after 1,000 anyway. Default: %(default)s",
    )
    parser.add_argument("--quick", action="store_true", help="the short run, as in the test suite")
    parser.add_argument(
        "--logs", type=Path, help="a folder in which the logs of servers and clusters are kept"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(names()):
        parser.error(f"there is no experiment {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    return options


def run_here(name: str, options: Namespace) -> Result:
    with ExitStack() as stack:
        services.forget_the_developers_settings()
        folder = services.start_postgres(stack, durable=True)
        services.start_chroma(stack, "chromadb")
        own = folder / name
        own.mkdir()
        set_up_django()
        result = run(Trial(name, options.seed, options.quick, own, options.minutes)).result()
        if options.logs:
            keep_logs(folder, options.logs / f"{name}-{options.seed}")
        return result


def keep_logs(folder: Path, kept: Path) -> None:
    for log in folder.rglob("*.log"):
        copy = kept / log.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, copy)


def set_up_django() -> None:
    """On the settings of the tests, whose app has events with handlers that note what they did."""
    os.environ |= {"DJANGO_SETTINGS_MODULE": "tests.settings", "LOG_LEVEL": "WARNING"}
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)


def run_all(wanted: list[str], options: Namespace) -> list[Result]:
    """Each in a process of its own. Those without a limit of time come first, two at once."""
    untimed = sorted(UNTIMED.intersection(wanted), key="histories".__ne__)  # the longest one first
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run_in_a_process, untimed, repeat(options)))
    results += [run_in_a_process(name, options) for name in wanted if name not in UNTIMED]
    return sorted(results, key=lambda result: wanted.index(result["name"]))


def run_in_a_process(name: str, options: Namespace) -> Result:
    """An experiment that breaks its process or its servers disturbs no other."""
    command = [sys.executable, "-m", "tests.faults", name, "--seed", str(options.seed), "--json"]
    command += ["--minutes", str(options.minutes)]
    command += ["--quick"] * options.quick + (["--logs", str(options.logs)] if options.logs else [])
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        trial = Trial(name, options.seed, options.quick, Path())
        trial.expect(False, f"the experiment's process ended with exit code {done.returncode}")
        return trial.result()
    (result,) = json.loads(done.stdout)["results"]
    return dict(result)


def text(results: list[Result]) -> str:
    return "\n\n".join("\n".join(lines(result)) for result in results)


def lines(result: Result) -> list[str]:
    numbers = {**result["counts"], **result["figures"]}
    return [
        f"{result['name']} (seed {result['seed']}): {len(result['anomalies'])} anomalies",
        *(f"  {name:<32}{number:>14,}" for name, number in numbers.items()),
        *(f"  ANOMALY {anomaly}" for anomaly in result["anomalies"]),
    ]


if __name__ == "__main__":
    main()

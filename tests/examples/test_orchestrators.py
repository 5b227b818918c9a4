"""The examples for Airflow and Prefect, with stand-ins for what they import of either: the real ones are too large for
every build. `retries` of the stand-ins is what was seen in Airflow 3.3 and Prefect 3.8.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.examples.workbench import EXAMPLES, Workbench, with_path

URI = "models:/traffic-signs/7"


class AirflowException(Exception):  # noqa: N818  # Airflow's name
    pass


class AirflowFailException(AirflowException):
    pass


class Task:
    """A function that is tried again when it fails.

    Args:
        function: the function.
        retries: how often.
        final: exceptions after which it is not.
        options: whatever else the example sets.
    """

    def __init__(
        self, function: Callable[..., Any], *, retries: int, final: tuple[type[Exception], ...] = (), **options: Any
    ) -> None:
        self.function, self.retries, self.final, self.options = function, retries, final, options

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for left in reversed(range(self.retries + 1)):
            try:
                return self.function(*args, **kwargs)
            except Exception as error:
                if isinstance(error, self.final) or not left:
                    raise
        return None


@pytest.fixture
def bench(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.setenv("PATH", with_path(bench)["PATH"])
    monkeypatch.chdir(bench.work)
    return bench


def provide(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    module = ModuleType(name)
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)


def airflow(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Load the example as Airflow does, which runs its only task; return the settings of its DAG."""
    settings: dict[str, Any] = {}

    def dag(**options: Any) -> Callable[[Any], Any]:
        settings.update(options)
        return lambda function: function

    provide(monkeypatch, "airflow")
    provide(
        monkeypatch,
        "airflow.sdk",
        dag=dag,
        task=lambda **options: lambda function: Task(function, final=(AirflowFailException,), **options),
    )
    errors = {"AirflowException": AirflowException, "AirflowFailException": AirflowFailException}
    provide(monkeypatch, "airflow.sdk.exceptions", **errors)
    runpy.run_path(str(EXAMPLES / "airflow_dag.py"))
    return settings


SWEEP = ["sweep", "--images", "/data/clean-images", "--output-dir", "/data/smoothscan-sweep"]


def test_airflow_sweeps_every_night(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE_OF_THE_SCAN", "0")
    settings = airflow(monkeypatch)
    assert bench.scans == [SWEEP]
    assert (settings["max_active_runs"], settings["catchup"]) == (1, False)


@pytest.mark.parametrize(("code", "tries"), [(1, 1), (2, 1), (4, 1), (5, 1), (3, 3), (143, 3)])
def test_airflow_tries_again_what_failed_and_nothing_else(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, code: int, tries: int
) -> None:
    monkeypatch.setenv("CODE_OF_THE_SCAN", str(code))
    with pytest.raises(AirflowException, match=rf"\(exit code {code}\)"):
        airflow(monkeypatch)
    assert bench.scans == [SWEEP] * tries


def prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the example as a program."""
    task = lambda **options: lambda function: Task(function, **options)  # noqa: E731  # as short as it is
    provide(monkeypatch, "prefect", flow=lambda function: function, task=task)
    monkeypatch.setattr(sys, "argv", ["prefect_flow.py", URI, "clean"])
    runpy.run_path(str(EXAMPLES / "prefect_flow.py"), run_name="__main__")


CHECK = ["check", "--images", "clean", "--output-dir", "smoothscan-report", "--set-alias", "champion", "--", URI]


def test_prefect_ends_well_when_the_gate_lets_a_model_pass(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE_OF_THE_SCAN", "0")
    prefect(monkeypatch)
    assert bench.scans == [CHECK]


@pytest.mark.parametrize(("code", "tries"), [(1, 1), (2, 1), (4, 1), (5, 1), (3, 3), (143, 3)])
def test_prefect_tries_again_what_failed_and_nothing_else(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, code: int, tries: int
) -> None:
    monkeypatch.setenv("CODE_OF_THE_SCAN", str(code))
    with pytest.raises(RuntimeError, match=rf"\(exit code {code}\)"):
        prefect(monkeypatch)
    assert bench.scans == [CHECK] * tries

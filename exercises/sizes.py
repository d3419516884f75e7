"""Examples of all sizes: hypothesis draws them, the same ones in every run, and ends with the smallest that fails."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

from ladder import Failed


def for_sizes(examples: int = 20, **drawn: SearchStrategy) -> Callable:
    """Decorator: calls the function at once, for so many examples of its arguments.

    Args:
        examples: how many are drawn.
        drawn: what each argument is drawn from.

    Raises:
        what the function raises for the smallest example that fails.
    """
    quiet = {"database": None, "deadline": None, "print_blob": False, "report_multiple_bugs": False}
    fixed = settings(max_examples=examples, derandomize=True, suppress_health_check=list(HealthCheck), **quiet)

    def run(function: Callable) -> None:
        try:
            fixed(given(**drawn)(function))()
        except Flaky as flaky:  # it failed, and did not fail again
            found = [error for error in getattr(flaky, "exceptions", ()) if isinstance(error, Failed)]
            if not found:
                raise
            found[0].why = "the result depends on earlier calls: the same input gave another result before"
            raise found[0] from None

    return run

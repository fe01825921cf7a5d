"""The command line. Importing it loads neither torch, Gymnasium nor numpy; each command imports what it needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jepawm_bench.cli.app import build_app
from jepawm_bench.errors import BenchError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    try:
        code = build_app()(args=arguments, standalone_mode=False, prog_name="jepawm-bench")
        return code if isinstance(code, int) else 0
    except BenchError as error:
        return _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _complain("Interrupted.", 130)
    except BrokenPipeError:
        return 1
    except Exception as error:
        if isinstance(error, _foreign_errors()):
            return _complain(str(error), 2 if isinstance(error, ValueError) else 1)
        if hasattr(error, "format_message"):  # typer's own: a missing option, an unknown command
            message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
            return _complain(_with_hint(message), getattr(error, "exit_code", 2))
        raise


def _foreign_errors() -> tuple[type[Exception], ...]:
    """Errors of the environments that are sentences too; none if the environments were never loaded."""
    errors = sys.modules.get("jepawm_envs.errors")
    return (errors.EnvError,) if errors else ()


def _with_hint(message: str) -> str:
    if not message:  # the help was printed already
        return ""
    return f"{message if message[-1] in '.?!' else message + '.'} See 'jepawm-bench --help'."


def _complain(message: str, code: int) -> int:
    if message:
        print(message, file=sys.stderr)
    return code

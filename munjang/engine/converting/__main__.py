"""The process that converts: reads its order, does it, says how it ended. It ends when its program does."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress

from munjang.engine.converting.order import Order, Outcome
from munjang.settings import Settings
from munjang.telemetry import setup_logging

NICENESS = 5
"""How far a gentle conversion stands behind: where all are busy it gets a third of what one of the others gets."""

_log = logging.getLogger("munjang.engine.converting")


def main() -> None:
    """Do one order."""
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print goes to the log
    setup_logging(Settings())
    order = Order.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_end_with_the_program, daemon=True).start()
    if order.gently:
        with suppress(AttributeError, OSError):  # a courtesy to what is being served, where the system knows it
            os.nice(NICENESS)
    os.write(answers, _do(order).model_dump_json().encode())


def _do(order: Order) -> Outcome:
    try:
        from munjang.encoder.openvino_runtime.convert import convert  # noqa: PLC0415 - seconds of import, at this priority

        convert(order.folder, order.options())
    except Exception as error:  # noqa: BLE001 - whatever it is, the program is told
        _log.debug("the model was not converted", exc_info=True)
        return Outcome.of(error)
    return Outcome()


def _end_with_the_program() -> None:
    """Wait until standard input closes, and end at once: what is half written is a draft, and is cleared later."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()

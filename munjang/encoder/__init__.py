"""Text in, vectors out, for one model version: tokenise, plan batches, forward, post-process. Knows no transport."""

import sys

# OpenVINO tells its makers, by Google Analytics, of every import and every conversion, each event from a fork of the
# whole process. Without the package for that it has a stub of its own, and tells nobody.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: it cannot be imported

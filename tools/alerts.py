"""Writes deploy/prometheus/alerts.yaml, the rules as Prometheus itself reads them, from the Kubernetes PrometheusRule.

`python -m tools.alerts` writes the file, `python -m tools.alerts --check` says whether it is current.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "deploy" / "k8s" / "components" / "monitoring" / "alerts.yaml"
PLAIN = ROOT / "deploy" / "prometheus" / "alerts.yaml"

HEAD = "# Written by `python -m tools.alerts` from deploy/k8s/components/monitoring/alerts.yaml: change it there.\n"


def plain() -> str:
    """The file for a Prometheus that reads files."""
    rule = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    return HEAD + yaml.safe_dump(rule["spec"], sort_keys=False, allow_unicode=True, width=120)


def main() -> int:
    """Write or check the file; returns the exit status."""
    if sys.argv[1:] == ["--check"]:
        current = PLAIN.is_file() and PLAIN.read_text(encoding="utf-8") == plain()
        if not current:
            sys.stderr.write(f"{PLAIN.relative_to(ROOT)} is not current: run python -m tools.alerts\n")
        return 0 if current else 1
    PLAIN.write_text(plain(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

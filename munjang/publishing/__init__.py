"""From a sentence-transformers folder to a published version: what is accepted, what is left out, how it is described.

safety (what is refused) · truth (whether vectors depend on other texts) · describe (facts, probe vectors, int8 step) ·
publish (all of it). Training, metrics and gates
are left to the trainer, files and aliases to `munjang.registry`.
"""

from munjang.publishing.describe import describe
from munjang.publishing.publish import Lineage, publish_model

__all__ = ["Lineage", "describe", "publish_model"]

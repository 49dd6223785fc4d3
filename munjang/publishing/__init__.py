"""From a model's name or folder to a published version: what is accepted, what is filled in, how it is described.

source (folder or hub) · catalogue (what models need) · safety (what is refused) · staging (the copy that is published)
· pickles, adapter, configuration (complete it) · truth (whether vectors depend on other texts) · weights, describe (try
it) · publish (all of it). Training, metrics and gates are left to the trainer, files and aliases to `munjang.registry`.
"""

from munjang.publishing.configuration import Options
from munjang.publishing.describe import describe
from munjang.publishing.publish import Lineage, find_model, publish_model, publish_source

__all__ = ["Lineage", "Options", "describe", "find_model", "publish_model", "publish_source"]

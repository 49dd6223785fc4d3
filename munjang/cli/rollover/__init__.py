"""`munjang demo --rollover`: the model of a search is changed while it answers, and every promise checked on the way.

questions.tsv (passages, and a question to each) · corpus (reads them) · whiten (a second model of other vectors) ·
search (an index, and what is found in it) · compare (both
versions) · drill (the steps)
"""

CANDIDATE = "next"
"""The alias that makes servers load the new version before anybody gets it unasked."""

"""Text in, vectors out, for one model version: tokenise, plan batches, forward, post-process. Knows no transport."""

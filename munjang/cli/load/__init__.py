"""Load on a server, for `munjang bench`: texts (what is sent), calls (how and when), stats (what came of it), plot."""

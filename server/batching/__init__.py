"""Texts of many callers share forwards: admission, lanes, fairness, fault isolation, watchdog. Knows no transport."""

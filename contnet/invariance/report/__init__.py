"""The report of an invariance study: tables, findings, a page, and a file for each picture."""

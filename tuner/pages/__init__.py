"""The report of a study as a page of its own, as Markdown and as JSON. What it shows is in `tuner/views/report.py`."""

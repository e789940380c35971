"""A progress bar for long work, with an estimate of the time left.

In a notebook the bar is a widget where ipywidgets is installed, and plain HTML where it is not, without a warning (tqdm
issue 1082): a single line that updates itself, and stays a single line in a notebook that is saved or converted.
"""

from __future__ import annotations

from certssb.watch.progress import ProgressBar, Report, progress_bar

__all__ = ["ProgressBar", "Report", "progress_bar"]

"""Watching a fit from outside: TensorBoard, MLflow, or a class of your own.

``clf.fit(X, y, callbacks=[...])`` tells every callback the settings at the start, the members done while it trains, and
how it ended. One run per ensemble: an ensemble that is resumed or enlarged continues its run.
"""

from __future__ import annotations

from certssb.watch.callbacks import Callback, MLflowCallback, TensorBoardCallback

__all__ = ["Callback", "MLflowCallback", "TensorBoardCallback"]

"""Members computed by other processes and machines: one way of spreading them, over the engines that exist.

A :class:`~certssb.executors._workforce.Workforce` is an engine as the driver knows it: something that takes tasks, calls back
when they are done, and may lose them. Each engine has a thin one of its own, and its library is imported when it is used.
"""

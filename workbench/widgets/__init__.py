"""The workbench on the screen: anywidget views of a session, for JupyterLab and everything else that runs anywidget."""

from workbench.widgets.workbench import Workbench

__all__ = ["Workbench"]

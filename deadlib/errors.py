"""What can go wrong in deadlib. One except clause on ToolsError catches all of it.

tfrecords_tools.errors.ToolsError
└── DeadlibError
    ├── RecipeError      a recipe that names what does not exist, or does not fit the dataset
    ├── RunError         a run directory that is missing, unfinished or of another shape
    ├── InputError       images that do not fit the model or the function (channels, size)
    ├── PredictionError  a prediction table that lacks what evaluation needs
    ├── ExportError      an exported model that disagrees with the one it came from
    ├── WebError         a server that cannot start, or a request that it refuses
    └── PanelError       a panel of annotators that cannot do what was asked
        ├── PanelConflict    an answer to what has been answered otherwise
        └── PanelOutage      a panel whose database does not answer
"""

from tfrecords_tools.errors import ToolsError


class DeadlibError(ToolsError):
    """Something that the user can mend. The message is shown as it is, without a traceback."""


class RecipeError(DeadlibError):
    """A recipe that names what does not exist, or does not fit the dataset."""


class RunError(DeadlibError):
    """A run directory that is missing, unfinished or of another shape."""


class InputError(DeadlibError):
    """Images that do not fit the model or the function."""


class PredictionError(DeadlibError):
    """A prediction table that lacks what evaluation needs."""


class ResultsChangedWarning(UserWarning):
    """A model does not answer as it did when its answers were stored."""


class ExportError(DeadlibError):
    """An exported model that disagrees with the one it came from."""


class WebError(DeadlibError):
    """A server that cannot start, or a request that it refuses."""


class PanelError(DeadlibError):
    """A panel of annotators that cannot do what was asked."""


class PanelConflict(PanelError):  # noqa: N818
    """An answer to what has been answered otherwise, or can no longer be answered."""


class PanelOutage(PanelError):  # noqa: N818
    """A panel whose database does not answer. Nothing was written; the same may be tried again."""

"""What can go wrong in deadlib. One except clause on ToolsError catches all of it.

tfrecords_tools.errors.ToolsError
└── DeadlibError
    ├── RecipeError      a recipe that names what does not exist, or does not fit the dataset
    ├── RunError         a run directory that is missing, unfinished or of another shape
    ├── InputError       images that do not fit the model or the function (channels, size)
    ├── PredictionError  a prediction table that lacks what evaluation needs
    └── ExportError      an exported model that disagrees with the one it came from
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


class ExportError(DeadlibError):
    """An exported model that disagrees with the one it came from."""

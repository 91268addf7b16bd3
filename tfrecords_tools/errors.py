"""What can go wrong between a folder of images and a dataset directory.

ToolsError              something that the user can mend; the message says where, what was
├── SourceError         found, what was expected and what to do
│   ├── ImageError      one image that cannot be used
│   └── ChangedImageError   one that is not what it was when it was planned
├── PlanError           the source can be read, but the request does not fit it
│   └── LeakError       a group or an identical image would stand in two splits
├── DatasetError        a dataset directory that is missing, unfinished, cut or edited
├── WriteError          the disk refused: full, read-only, vanished
└── ClusterError        a Dask cluster that is not there, is lost, or sees other files
"""


class ToolsError(Exception):
    """Something that the user can mend. The message is shown as it is, without a traceback."""


class SourceError(ToolsError):
    """A source folder, table or pattern that cannot be read as asked."""


class ImageError(SourceError):
    """One image that cannot be used: truncated, empty, mislabelled, of the wrong size or depth."""


class ChangedImageError(SourceError):
    """One image whose pixels are not those that were planned. The message says not what to do."""


class PlanError(ToolsError):
    """The source can be read, but the request does not fit it."""


class LeakError(PlanError):
    """A group or an identical image would stand in two splits."""


class DatasetError(ToolsError):
    """A dataset directory that is missing, unfinished, cut or edited."""


class WriteError(ToolsError):
    """The disk refused: full, read-only or vanished."""


class ClusterError(ToolsError):
    """A Dask cluster that does not answer, is lost, or whose workers see other files."""

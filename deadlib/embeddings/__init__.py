"""What the embedding of a network holds: class, or plate; which wells lie near which."""

from deadlib.embeddings.report import examine
from deadlib.embeddings.wells import Wells, read_wells

__all__ = ["Wells", "examine", "read_wells"]

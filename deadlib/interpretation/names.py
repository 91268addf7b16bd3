"""What can be asked for by name; light, so that a command can list it without TensorFlow."""

METHODS = ("gradcam", "gradcam++", "scorecam", "smoothgrad")
"""How a map is computed: the keys of `methods.METHODS`."""

QUICK = ("gradcam", "gradcam++")
"""Methods whose sanity is tested unless that is declined: it takes seconds."""

WEIGHTS = ("image", "class")
"""What weights the feature maps of Grad-CAM: the image's own gradient, or its mean over all
training images of the class."""

ZEROS = "zeros"
OPPOSITE = "opposite"
STARTS = (ZEROS, OPPOSITE)
"""What the ascent of a class model begins with: an empty image, an image of another class."""

MAPS = ("tiff", "ome-tiff")
"""How a map is written to a file: the keys of `maps.SUFFIXES`."""

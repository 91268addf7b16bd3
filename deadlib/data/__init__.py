"""From a dataset directory to batches of images in unit range, and to what the network sees."""

"""Every technical term of the reports in plain words: one explanation for each, in one place.

A template explains its terms where they first stand, with the macro `terms('interval', 'group')`.
"""

from __future__ import annotations

GLOSSARY: dict[str, str] = {
    "class": "what an image is called: living, dead, a treatment, a cell line.",
    "group": "images that belong together and are alike (one well, one position), so they count as "
    "one piece of evidence and not as many.",
    "well": "one small dish of a plate, with one treatment. Its fields are pictures of the same "
    "cells and are called together: by the mean of their probabilities, or by the vote of most.",
    "interval": "the range in which the true figure likely lies, that of all groups like these: of "
    "100 ranges made this way about 95 hold it. The figure of a next experiment may well lie "
    "outside.",
    "resample": "the same analysis once more, on groups drawn by lot from those at hand. Many "
    "resamples show how far chance alone moves a figure.",
    "accuracy": "the share of images that are called right.",
    "balanced accuracy": "the share called right, first within each class, then averaged: a "
    "frequent class does not count more than a rare one. Guessing gives 1 / number of classes.",
    "recall": "of all images that truly are of a class, the share that is found.",
    "precision": "of all images that are called a class, the share that truly is.",
    "F1": "one figure for precision and recall together (their harmonic mean).",
    "macro F1": "the mean F1 over the classes.",
    "ROC AUC": "show the model one image of a class and one of another: how often it gives the "
    "higher probability to the right one. 0.5 is guessing, 1 is perfect.",
    "AUPRC": "the mean precision while more and more images are called the class; guessing gives "
    "the share of the class.",
    "log loss": "how badly the probabilities miss; being sure and wrong costs most. 0 is perfect.",
    "Brier score": "the mean squared distance of the probabilities from the truth. 0 is perfect.",
    "calibration error": "how far the claimed confidence lies from the share called right, on "
    "average. 0.05 means it is off by 5 in 100.",
    "confidence": "the probability that the model gives to its own answer.",
    "confusion matrix": "one row for each true class, one column for each answer: what is taken "
    "for what.",
    "ROC curve": "calling more images a class finds more of them (up) and takes more others for "
    "it (right).",
    "false positive rate": "of all images that are not of the class, the share called it.",
    "true positive rate": "of all images of the class, the share called it: the same as recall.",
    "confounding": "two things always go together, such as drug and day. Then nobody can tell "
    "which of them the model has learnt, neither the model nor you.",
    "uncertainty coefficient": "how much of what is open about the one column the other one "
    "settles (the share of its entropy): 0 nothing, 1 everything.",
    "split": "which images the model learns from (train), which tune it (validation), and which "
    "only judge it (test).",
    "epoch": "one pass of the training over all its images.",
    "loss": "what training makes small: how badly the probabilities miss.",
    "calibration": "making the model as sure as it is right: of all images for which it claims "
    "0.9, nine in ten should be right. One number, the temperature, does that.",
    "prediction set": "the classes that the image may be. The fewer, the surer; one class alone is "
    "an answer, two or none mean “unsure”.",
    "abstention": "leaving the images out that the model is unsure of, for a person to look at.",
    "out of distribution": "unlike everything that the model has learnt from. The distance of an "
    "image to the training images is told as the share of known images that lie closer to them. "
    "Not every trouble shows: noise hardly does.",
    "virtual batch": "a small set of images, equally many of each class, drawn by lot.",
    "ceiling": "the best accuracy that any model could reach on labels that people disagree about.",
    "agreement beyond chance": "two who guess agree now and then, and often where one answer is "
    "frequent. A kappa or alpha counts only what goes beyond that: 1 is perfect, 0 is guessing, "
    "below 0 is worse than guessing.",
    "level": "experiments hold plates, plates hold wells, wells hold images. How sure a figure is "
    "depends on which of them may be others next time.",
    "difference": "one figure of this model less the same figure of the other, on the same images.",
    "p-value": "how often chance alone would make a difference at least as large as this one, if "
    "there were none in truth. Below 0.05 it is usually believed; it does not say how large the "
    "difference is, and a large p does not show that there is none.",
}

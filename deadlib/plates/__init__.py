"""Plates: their tables as laboratories write them, and pictures of them.

`table.plate_table` makes of a raw table one row per plate and well; `drawing.plate_map` draws a
plate; `geometry` knows rows, columns and the edge.
"""

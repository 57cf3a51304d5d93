"""Readers of image data sets: labels first, then only the chosen rows' pixels, so that each daemon holds its own rows alone."""

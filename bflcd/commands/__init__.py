"""The daemon's commands, one file for those of a node and one for those that make a community."""

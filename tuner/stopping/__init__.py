"""Early-stopping rules over learning curves; the name is the file name."""

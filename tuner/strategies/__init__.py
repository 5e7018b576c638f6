"""One method, one file; the registry name is the file name."""

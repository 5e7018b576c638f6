"""Drawing from a space under restrictions, and counting what is in it."""

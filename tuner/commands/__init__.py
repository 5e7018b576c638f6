"""The verbs of the command line, each a thin function: parse, one library call, print."""

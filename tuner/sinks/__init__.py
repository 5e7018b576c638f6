"""Sinks: what other tools' loggers are told of a study: one file a tool, each writing local files."""

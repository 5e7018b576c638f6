"""Where trials run: worker processes for Python objectives, process groups for commands, slots of devices."""

"""Where trials are evaluated: worker processes, commands, leased devices."""

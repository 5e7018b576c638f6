"""What the commands do: one module for each that is more than one library call."""

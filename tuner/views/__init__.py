"""What pictures and comparisons show, as plain data: one file a view. Nothing is drawn here."""
